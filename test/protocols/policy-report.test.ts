/** AUDIT and dry-run policies over HTTP: nobody is refused, and the log and the metric name the rule. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createLog, type Log } from '../../core/log.ts'
import { Metrics } from '../../core/metrics.ts'
import type { Policy, PolicyRule } from '../../model/policy.ts'
import type { ShadowDecision } from '../../protocols/authz.ts'
import { reportDecisions } from '../../protocols/policy-report.ts'
import { Both } from './http/both.ts'
import { manager, route } from './http/harness.ts'
import { connectionInClear } from './parts.ts'
import { PassThrough } from 'node:stream'

function recordLog(): { readonly log: Log; readonly lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = []
  const log = createLog('debug', {
    write: (line) => {
      lines.push(JSON.parse(line) as Record<string, unknown>)
    },
  })
  return { log, lines }
}
const rule = (name: string): PolicyRule => ({ name, permissions: [{ kind: 'any' }], principals: [{ kind: 'any' }] })
const audit: Policy = { action: 'log', rules: [rule('audited')], shadow: undefined }
const dry: Policy = { action: 'log', rules: [], shadow: { action: 'deny', rules: [rule('tried')] } }

test('rules are named in the log, without the query, and counted', async (t) => {
  const { log, lines } = recordLog()
  const filters = [audit, dry].map((policy) => ({ kind: 'rbac' as const, name: 'r', policy }))
  const both = await Both.start(t, manager([route()], { filters }), { log })
  assert.equal((await both.ask('http1', { path: '/a?access_token=secret' })).status, 200)
  const told = lines.filter(({ evt }) => String(evt).startsWith('authz.'))
  assert.deepEqual(
    told.map(({ evt, rule: named, method, path, result }) => ({ evt, named, method, path, result })),
    [
      { evt: 'authz.audit', named: 'audited', method: 'GET', path: '/a', result: undefined },
      { evt: 'authz.shadow', named: 'tried', method: 'GET', path: '/a', result: 'deny' },
    ],
  )
  for (const [policy, mode, result] of [
    ['audited', 'audit', 'allow'],
    ['tried', 'dry-run', 'deny'],
  ] as const)
    assert.equal(both.metrics.total('mesh_authz_policy_total', { policy, mode, result }), 1)
  assert.equal(both.metrics.total('mesh_authz_shadow_denied_total'), 1)
})

test("a request that policy refuses is told so in Envoy's words", async (t) => {
  const deny: Policy = { action: 'deny', rules: [rule('d')], shadow: undefined }
  const both = await Both.start(t, manager([route()], { filters: [{ kind: 'rbac', name: 'r', policy: deny }] }))
  const { status, body, headers } = await both.ask('http1', {})
  assert.deepEqual([status, body, headers['x-meshlet-error']], [403, 'RBAC: access denied', 'MESH_PEER_NOT_ALLOWED'])
})

test('behind a thousand names all others are one', () => {
  const metrics = new Metrics()
  const decision = (name: number): ShadowDecision => ({
    action: 'log',
    wouldAllow: true,
    rule: `r${name}`,
    isDryRun: false,
  })
  const ctx = { metrics, log: recordLog().log }
  reportDecisions(
    Array.from({ length: 1_010 }, (_, i) => decision(i)),
    connectionInClear(new PassThrough(), manager([route()])),
    undefined,
    ctx,
  )
  assert.equal(metrics.total('mesh_authz_policy_total', { policy: 'others' }), 10)
  assert.equal(metrics.total('mesh_authz_policy_total', { policy: 'r999' }), 1)
})
