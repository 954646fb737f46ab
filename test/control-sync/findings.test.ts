import { test } from 'node:test'
import assert from 'node:assert/strict'
import { silentLog } from '../../core/log.ts'
import { Metrics } from '../../core/metrics.ts'
import type { RawResource } from '../../model/snapshot.ts'
import { Findings, type Rejected } from '../../control-sync/findings.ts'

const raw = (name: string): RawResource => ({ name, version: '', value: new Uint8Array(0) })
const issue = { path: 'type', problem: 'is not known' }
const rejected = (name: string): Rejected => ({ kind: 'cluster', name, issues: [issue], blocked: false })

test('what is found is listed by resource, and gone with the version that it was found in', () => {
  const findings = new Findings({ log: silentLog, metrics: new Metrics() })
  const [a, b] = [raw('a'), raw('b')]
  findings.note('cluster', a, { notes: { ignored: ['lb_policy'], blocked: [issue] } })
  findings.note('listener', b, { notes: { skipped: ['no limits (ratelimit)'] } })
  findings.note('cluster', raw('c'), {})
  assert.deepEqual(findings.ignored, [{ name: 'a', fields: ['lb_policy'] }])
  assert.deepEqual(
    [...findings.skipped],
    [['no limits (ratelimit)', [{ what: 'no limits (ratelimit)', kind: 'listener', name: 'b' }]]],
  )
  assert.deepEqual(findings.rejected, [{ kind: 'cluster', name: 'a', issues: [issue], blocked: true }])
  findings.forget(a)
  findings.forget(b)
  assert.deepEqual([findings.ignored, findings.skipped.size, findings.rejected], [[], 0, []])
})

test('what was rejected as a whole is listed until it comes anew, or everything of its kind does', () => {
  const findings = new Findings({ log: silentLog, metrics: new Metrics() })
  findings.report([rejected('a'), rejected('b'), { ...rejected('l'), kind: 'listener' }])
  findings.clearRejected('listener', 'a')
  assert.equal(findings.rejected.length, 3, 'of another kind')
  findings.clearRejected('cluster', 'a')
  assert.deepEqual(
    findings.rejected.map((r) => r.name),
    ['b', 'l'],
  )
  findings.clearAllRejected('cluster')
  assert.deepEqual(
    findings.rejected.map((r) => r.name),
    ['l'],
  )
})

test('each is counted; what is blocked is counted and not listed twice', () => {
  const metrics = new Metrics()
  const findings = new Findings({ log: silentLog, metrics })
  const a = raw('a')
  findings.note('cluster', a, { notes: { blocked: [issue] } })
  findings.report([rejected('b'), findings.blockedIn(a)!])
  findings.countIgnored({ notes: { ignored: ['x', 'y'] } })
  findings.countIgnored({})
  assert.equal(metrics.total('mesh_config_resources_rejected_total', { kind: 'cluster' }), 2)
  assert.equal(metrics.total('mesh_config_ignored_fields_total'), 2)
  assert.deepEqual(
    findings.rejected.map((r) => [r.name, r.blocked]),
    [
      ['b', false],
      ['a', true],
    ],
  )
})
