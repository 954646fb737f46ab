/**
 * Conversations of several clients by chance, legal and not, held against a model of what a broker owes them. A failure
 * is shrunk to the shortest conversation that shows it. `MQTT_MODEL_RUNS` and `MQTT_MODEL_SEED` make it longer.
 */
import { test } from 'node:test'
import path from 'node:path'
import fc from 'fast-check'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'
import { beginningWithADeadReceiver, conversation } from './conversation.ts'
import { converse } from './run.ts'

const RUNS = { memory: 150, disk: 12 }
const factor = Number(process.env['MQTT_MODEL_RUNS'] ?? 1)
const seed = Number(process.env['MQTT_MODEL_SEED'] ?? 20_260)

test('in memory: order on a connection, retained values, subscriptions', async () => {
  await fc.assert(
    fc.asyncProperty(conversation, (steps) => converse(steps, undefined)),
    { numRuns: RUNS.memory * factor, seed },
  )
})
test('over a spool with bounds: a dead receiver hurts itself only', async (t) => {
  const folder = temporaryFolder(t)
  let runs = 0
  await fc.assert(
    fc.asyncProperty(beginningWithADeadReceiver, conversation, (dead, steps) =>
      converse([...dead, ...steps], path.join(folder, `spool-${runs++}.db`)),
    ),
    { numRuns: RUNS.disk * factor, seed },
  )
})
