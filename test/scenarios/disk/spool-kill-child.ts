/**
 * The process that spool-kill.test.ts kills. Appends numbered messages to two queues, marks some of one as done, and
 * notes in a file what was acknowledged, each line after its append has resolved. A kill leaves what was written to the
 * file; a pipe could be full.
 */
import fs from 'node:fs'
import path from 'node:path'
import { systemClock } from '../../../core/os/clock.ts'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import { openStorageWith } from '../../../core/storage/worker-storage.ts'
import { createMqttPolicySchema } from '../../../model/mqtt-policy.ts'
import { openSpool } from '../../../protocols/mqtt/spool/spool.ts'

const [dir, profile, start] = process.argv.slice(2) as [string, string, string]
const notes = fs.openSync(path.join(dir, 'acknowledged'), 'w')
const spool = await openSpool({
  openStorage: openStorageWith({ bundle: undefined }),
  path: path.join(dir, 'spool.db'),
  policy: createMqttPolicySchema().parse({ spool: { profile } }),
  clock: systemClock,
  metrics: new Metrics(),
  log: silentLog,
  freeBytes: () => 1e12,
})
const [one, two] = await Promise.all([spool.createQueue('one'), spool.createQueue('two')])
// Sizes and rates differ, so that kills meet single commits, large batches and checkpoints.
let number = Number(start)
const publisher = async (bytes: number): Promise<void> => {
  for (;;) {
    const mine = number++
    await spool.append(
      {
        topic: 'a/b',
        payload: Buffer.from(`${mine}:${'x'.repeat(bytes)}`),
        qos: 1,
        retain: false,
        properties: new Uint8Array(0),
        expiresAtMs: undefined,
      },
      mine % 3 === 0 ? [one, two] : [one],
    )
    fs.writeSync(notes, `${mine}\n`)
  }
}
two.onAppended = () => {
  for (let seq = two.firstSeq; seq <= two.lastSeq - 5; seq++) two.done(seq)
}
await Promise.all([10, 10, 100, 100, 1_000, 5_000].map(publisher))
