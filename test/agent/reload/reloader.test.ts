/** agent.yaml read again: what is taken live, what needs a restart, and what is wrong. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { loadConfig } from '../../../agent/config/load.ts'
import type { AgentConfig } from '../../../agent/config/schema.ts'
import { Reloader } from '../../../agent/reload/reloader.ts'
import type { Prepared } from '../../../core/current.ts'
import { MeshError } from '../../../core/errors.ts'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'

const configOf = (rest: string): AgentConfig => {
  const loaded = loadConfig(`control: {address: "a:1", roots: /r}\nstate: /s\n${rest}`)
  return loaded.ok ? loaded.config : assert.fail(JSON.stringify(loaded.problems))
}
const BEFORE = 'log: {level: info}\nmqtt: {limits: {maxInflight: 10}}\nlisteners: [{name: m, kind: mqtt, port: 1883}]\n'

const prepared = (commit: () => void, dispose = (): void => undefined): Prepared => ({
  commit,
  [Symbol.dispose]: dispose,
})

function reloaderOf(read: () => AgentConfig): { reloader: Reloader; taken: AgentConfig[]; metrics: Metrics } {
  const metrics = new Metrics()
  const reloader = new Reloader({ config: configOf(BEFORE), readConfig: read, log: silentLog, metrics })
  const taken: AgentConfig[] = []
  reloader.takeLive({
    settings: ['mqtt.limits', 'listeners.*.mqtt'],
    prepare: async (next) => prepared(() => taken.push(next)),
  })
  return { reloader, taken, metrics }
}

test('what a part takes is in force and named; the rest is named until it is as it was, or the agent starts anew', async () => {
  const files = [
    BEFORE.replace('10', '20').replace('1883', '1884'),
    BEFORE.replace('10', '20').replace('1883', '1884').replace('port: 1884', 'port: 1884, mqtt: {maxPacketBytes: 999}'),
    BEFORE.replace('10', '20'),
  ]
  const { reloader, taken } = reloaderOf(() => configOf(files.shift()!))
  assert.deepEqual(await reloader.reload(), {
    applied: ['mqtt.limits.maxInflight'],
    needsRestart: ['listeners.m.port'],
    reasons: { 'listeners.m.port': 'it is read at the start alone' },
  })
  assert.equal(taken[0]!.mqtt.limits.maxInflight, 20)
  const { applied, needsRestart } = await reloader.reload()
  assert.deepEqual(needsRestart, ['listeners.m.port'], 'still')
  assert.ok(applied.every((path) => path.startsWith('listeners.m.mqtt')) && applied.length > 0, applied.join())
  assert.deepEqual((await reloader.reload()).needsRestart, [])
  assert.deepEqual(reloader.needsRestart, [])
})

test('a file that is wrong, or that one part cannot take, changes nothing and is told', async () => {
  const reads: (() => AgentConfig)[] = [
    () => {
      throw new MeshError('MESH_CONFIG_INVALID', 'line 3: no such setting')
    },
    () => configOf(BEFORE.replace('10', '20')),
    () => configOf(BEFORE.replace('10', '30')),
  ]
  const { reloader, taken, metrics } = reloaderOf(() => reads.shift()!())
  await assert.rejects(reloader.reload(), { code: 'MESH_CONFIG_INVALID' })
  assert.equal(reloader.error?.message, 'line 3: no such setting')
  let isUsable = false
  reloader.takeLive({
    settings: ['dns'],
    async prepare() {
      if (!isUsable) throw new MeshError('MESH_CONFIG_INVALID', 'a file that it names is not there')
      return prepared(() => undefined)
    },
  })
  await assert.rejects(reloader.reload(), { code: 'MESH_CONFIG_INVALID' })
  assert.deepEqual(taken, [], 'no part has acted')
  isUsable = true
  assert.deepEqual((await reloader.reload()).applied, ['mqtt.limits.maxInflight'])
  assert.deepEqual([reloader.error, taken.length], [undefined, 1])
  assert.deepEqual(
    ['refused', 'applied'].map((outcome) => metrics.total('mesh_config_reloads_total', { outcome })),
    [2, 1],
  )
})

test('what was prepared is disposed of when another part refuses; reloads come one after another', async () => {
  const { reloader } = reloaderOf(() => configOf(BEFORE.replace('10', '20')))
  const said: string[] = []
  const first = Promise.withResolvers<void>()
  let mayFail = true
  reloader.takeLive({
    settings: ['dns'],
    prepare: async () => {
      await first.promise
      return prepared(
        () => said.push('in force'),
        () => said.push('disposed of'),
      )
    },
  })
  reloader.takeLive({
    settings: ['limits'],
    prepare: async () => {
      if (mayFail) throw new MeshError('MESH_CONFIG_INVALID', 'no')
      return prepared(() => undefined)
    },
  })
  const refused = assert.rejects(reloader.reload(), { message: 'no' })
  const second = reloader.reload()
  first.resolve()
  await refused
  assert.deepEqual(said, ['disposed of'])
  mayFail = false
  await second
  assert.deepEqual(said, ['disposed of', 'in force', 'disposed of'])
})

test('beneath what is live stands what is not: it is named with its reason, and stays as it was', async () => {
  const texts = ['mqtt: {spool: {profile: eco, maxMessages: 7}}', 'mqtt: {spool: {maxMessages: 7}}']
  const reloader = new Reloader({
    config: configOf('mqtt: {spool: {maxMessages: 5}}'),
    readConfig: () => configOf(texts.shift()!),
    log: silentLog,
    metrics: new Metrics(),
  })
  reloader.takeLive({
    settings: ['mqtt'],
    exceptions: ['mqtt.spool.profile'],
    prepare: async () => prepared(() => undefined),
  })
  assert.deepEqual(await reloader.reload(), {
    applied: ['mqtt.spool.maxMessages'],
    needsRestart: ['mqtt.spool.profile'],
    reasons: { 'mqtt.spool.profile': 'the spool is opened with it' },
  })
  assert.deepEqual(await reloader.reload(), { applied: [], needsRestart: [], reasons: {} })
})
