/** agent.yaml read again: what is taken live, what needs a restart, and what is wrong. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { loadConfig } from '../../agent/config/load.ts'
import type { AgentConfig } from '../../agent/config/schema.ts'
import { Reloader } from '../../agent/reload.ts'
import { MeshError } from '../../core/errors.ts'
import { silentLog } from '../../core/log.ts'
import { Metrics } from '../../core/metrics.ts'

const configOf = (rest: string): AgentConfig => {
  const loaded = loadConfig(`control: {address: "a:1", roots: /r}\nstate: /s\n${rest}`)
  return loaded.ok ? loaded.config : assert.fail(JSON.stringify(loaded.problems))
}
const BEFORE = 'log: {level: info}\nmqtt: {limits: {maxInflight: 10}}\nlisteners: [{name: m, kind: mqtt, port: 1883}]\n'

function reloaderOf(read: () => AgentConfig): { reloader: Reloader; taken: AgentConfig[]; metrics: Metrics } {
  const metrics = new Metrics()
  const reloader = new Reloader({ config: configOf(BEFORE), readConfig: read, log: silentLog, metrics })
  const taken: AgentConfig[] = []
  reloader.takeLive({ settings: ['mqtt.limits', 'listeners.*.mqtt'], prepare: (next) => () => void taken.push(next) })
  return { reloader, taken, metrics }
}

test('what a part takes is in force and named; the rest is named until it is as it was, or the agent starts anew', () => {
  const files = [
    BEFORE.replace('10', '20').replace('1883', '1884'),
    BEFORE.replace('10', '20').replace('1883', '1884').replace('port: 1884', 'port: 1884, mqtt: {maxPacketBytes: 999}'),
    BEFORE.replace('10', '20'),
  ]
  const { reloader, taken } = reloaderOf(() => configOf(files.shift()!))
  assert.deepEqual(reloader.reload(), { applied: ['mqtt.limits.maxInflight'], needsRestart: ['listeners.m.port'] })
  assert.equal(taken[0]!.mqtt.limits.maxInflight, 20)
  const { applied, needsRestart } = reloader.reload()
  assert.deepEqual(needsRestart, ['listeners.m.port'], 'still')
  assert.ok(applied.every((path) => path.startsWith('listeners.m.mqtt')) && applied.length > 0, applied.join())
  assert.deepEqual(reloader.reload().needsRestart, [])
  assert.deepEqual(reloader.needsRestart, [])
})

test('a file that is wrong, or that one part cannot take, changes nothing and is told', () => {
  const reads: (() => AgentConfig)[] = [
    () => {
      throw new MeshError('MESH_CONFIG_INVALID', 'line 3: no such setting')
    },
    () => configOf(BEFORE.replace('10', '20')),
    () => configOf(BEFORE.replace('10', '30')),
  ]
  const { reloader, taken, metrics } = reloaderOf(() => reads.shift()!())
  assert.throws(() => reloader.reload(), { code: 'MESH_CONFIG_INVALID' })
  assert.equal(reloader.error?.message, 'line 3: no such setting')
  let isUsable = false
  reloader.takeLive({
    settings: ['dns'],
    prepare() {
      if (!isUsable) throw new MeshError('MESH_CONFIG_INVALID', 'a file that it names is not there')
      return () => undefined
    },
  })
  assert.throws(() => reloader.reload(), { code: 'MESH_CONFIG_INVALID' })
  assert.deepEqual(taken, [], 'no part has acted')
  isUsable = true
  assert.deepEqual(reloader.reload().applied, ['mqtt.limits.maxInflight'])
  assert.deepEqual([reloader.error, taken.length], [undefined, 1])
  assert.deepEqual(
    ['refused', 'applied'].map((outcome) => metrics.total('mesh_config_reloads_total', { outcome })),
    [2, 1],
  )
})
