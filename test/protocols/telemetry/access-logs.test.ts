import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Metrics } from '../../../core/metrics.ts'
import { silentLog } from '../../../core/log.ts'
import type { AccessLogOutput } from '../../../model/access-log/access-log.ts'
import { AccessLogs, MAX_LINE_BYTES } from '../../../protocols/telemetry/access-logs.ts'
import { seededRandom } from '../../helpers/random.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { factsOf } from '../../model/access-log-facts.ts'
import { Lines, textLog } from '../access-lines.ts'

type Rig = { readonly logs: AccessLogs; readonly metrics: Metrics; readonly clock: SimClock; readonly told: unknown[] }
function rig(accessLogs: AccessLogOutput): Rig {
  const [metrics, clock, told] = [new Metrics(), new SimClock(), [] as unknown[]]
  const log = { ...silentLog, warn: (fields: unknown) => void told.push(fields) }
  return { logs: new AccessLogs({ accessLogs, metrics, clock, log, random: seededRandom(1) }), metrics, clock, told }
}
const dropped = (r: Rig, reason: string): number => r.metrics.total('mesh_access_log_lines_dropped_total', { reason })

test('lines above the bound are left out in each second, counted and told', async () => {
  const lines = new Lines(2)
  const r = rig(lines)
  for (let i = 0; i < 5; i++) r.logs.write([textLog('a\n')], factsOf())
  assert.deepEqual([lines.texts.length, dropped(r, 'rate'), r.told], [2, 3, []])
  await r.clock.advance(1_000)
  r.logs.write([textLog('b\n')], factsOf())
  assert.deepEqual([lines.texts.length, dropped(r, 'rate')], [3, 3])
  assert.deepEqual(r.told, [{ evt: 'access-log.left-out', lines: 3 }])
  assert.equal(r.metrics.total('mesh_access_log_lines_total'), 3)
})
test('what nobody takes is counted', () => {
  const r = rig({ maxLinesPerSecond: 10, write: () => false })
  r.logs.write([textLog('a\n')], factsOf())
  assert.deepEqual([dropped(r, 'output'), r.metrics.total('mesh_access_log_lines_total')], [1, 0])
})
test('each log has its filter, and a line that is filtered out takes no room', () => {
  const lines = new Lines(2)
  const never = { filter: { runtime_filter: { runtime_key: 'k' } } }
  rig(lines).logs.write([textLog('a\n', never), textLog('b\n'), textLog('c\n', never), textLog('d\n')], factsOf())
  assert.deepEqual(lines.texts, ['b\n', 'd\n'])
})
test('a line is cut where it is longer than anybody needs, and stays one line', () => {
  const lines = new Lines()
  rig(lines).logs.write([textLog(`${'%REQ(x)%'.repeat(10)}\n`)], factsOf({ fields: { x: 'v'.repeat(10_000) } }))
  assert.equal(lines.texts[0]?.length, MAX_LINE_BYTES)
  assert.match(lines.texts[0]!, /v\n$/)
})
test('text of the format and bytes of the request stay what they are', () => {
  const lines = new Lines()
  rig(lines).logs.write([textLog('ü %REQ(x)%\n')], factsOf({ fields: { x: Buffer.from('é').toString('latin1') } }))
  assert.deepEqual(lines.texts, ['ü é\n'])
})
