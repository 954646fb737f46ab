/** The last line of defence: what nobody caught, in a running agent and hub. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import http from 'node:http'
import { once } from 'node:events'
import path from 'node:path'
import { runCli as runAgent } from '../../../agent/cli/program.ts'
import { runCli as runHub } from '../../../hub/cli/program.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

/** As Node makes it when nobody hears of a socket's error. */
function ofSocket(): Error {
  const error = new Error('read ECONNRESET')
  error.stack = 'Error: read ECONNRESET\n    at TCP.onStreamRead (node:internal/stream_base_commons:216:20)'
  return error
}

async function defects(port: number): Promise<string> {
  const [res] = (await once(http.get({ port, path: '/stats/prometheus' }), 'response')) as [http.IncomingMessage]
  return (await res.toArray())
    .join('')
    .split('\n')
    .filter((line) => line.startsWith('mesh_defects_total{'))
    .join()
}

test("meshlet run: one connection's defect is counted and passes, anybody's drains the agent and ends it with 1", async (t) => {
  const folder = temporaryFolder(t)
  const [admin = 0] = await freePorts(1)
  const file = path.join(folder, 'agent.yaml')
  fs.mkdirSync(`${folder}/resources`)
  fs.writeFileSync(
    file,
    `directory: ${folder}/resources\nstate: ${folder}/state\nadmin: {port: ${admin}}\nlog: {level: fatal}\n`,
  )
  const heard = Promise.withResolvers<(thrown: unknown) => void>()
  const started = Promise.withResolvers<void>()
  let givenUpAfterMs = 0
  const run = runAgent(['run', '-c', file], {
    out: () => {},
    err: (text) => {
      assert.fail(text)
    },
    env: {},
    standardInput: async () => Buffer.alloc(0),
    settled: () => {},
    stopRequested: () => {
      started.resolve()
      return new Promise(() => {})
    },
    uncaught: (hear) => {
      heard.resolve(hear)
      return { [Symbol.dispose]: () => {} }
    },
    giveUpAfter: (ms) => {
      givenUpAfterMs = ms
    },
  })
  const hear = await heard.promise
  await started.promise
  hear(ofSocket())
  assert.equal(await defects(admin), 'mesh_defects_total{part="process"} 1')
  assert.equal(givenUpAfterMs, 0)
  hear(new TypeError('nobody knows'))
  hear(new TypeError('nor this'))
  assert.equal(await run, 1)
  assert.ok(givenUpAfterMs > 10_000)
})

test('meshlet-hub run: the same', async (t) => {
  const folder = temporaryFolder(t)
  fs.mkdirSync(`${folder}/resources`)
  const file = path.join(folder, 'hub.yaml')
  fs.writeFileSync(
    file,
    `listen: 127.0.0.1:0\nresources: ${folder}/resources\nstate: ${folder}/state\nlog: {level: error}\n`,
  )
  const heard = Promise.withResolvers<(thrown: unknown) => void>()
  const run = runHub(['run', '-c', file], {
    out: () => {},
    err: (text) => {
      assert.fail(text)
    },
    stopRequested: () => new Promise(() => {}),
    uncaught: (hear) => {
      heard.resolve(hear)
      return { [Symbol.dispose]: () => {} }
    },
  })
  const hear = await heard.promise
  hear(ofSocket())
  hear(new TypeError('nobody knows'))
  assert.equal(await run, 1)
})
