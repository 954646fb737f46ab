import { test } from 'node:test'
import assert from 'node:assert/strict'
import { decide, NO_RULE, shadowDecisions, type AuthzFacts } from '../../protocols/authz.ts'
import { normalizePath } from '../../protocols/http/filters/path-normalize.ts'
import { withoutQuery } from '../../protocols/router.ts'
import { parseCidr } from '../../model/ip.ts'
import { parseSpiffeId, type PeerIdentity } from '../../model/identity.ts'
import type { StringMatch } from '../../model/matcher.ts'
import type { Permission, Policy, PolicyRule, Principal } from '../../model/policy.ts'

const text = (kind: 'exact' | 'prefix' | 'suffix' | 'contains', value: string): StringMatch => ({
  kind,
  value,
  ignoreCase: false,
})
const peer = (over: Partial<PeerIdentity> = {}): PeerIdentity => ({
  spiffeId: parseSpiffeId('spiffe://cluster.local/ns/a/sa/b'),
  uriSans: ['spiffe://cluster.local/ns/a/sa/b'],
  dnsSans: [],
  subject: 'CN=b',
  sha256: '',
  notAfterMs: 0,
  ...over,
})
const facts = (over: Partial<AuthzFacts> = {}): AuthzFacts => ({
  peer: peer(),
  directRemoteIp: '10.0.0.9',
  remoteIp: '192.0.2.7',
  destinationIp: '10.0.0.1',
  destinationPort: 8080,
  serverName: 'a.example',
  header: (name) => ({ ':method': 'GET', 'x-team': 'red' })[name],
  path: '/api/v1',
  ...over,
})
const ANY = [{ kind: 'any' }] as const
const rule = (permissions: readonly Permission[], principals: readonly Principal[] = ANY, name = 'r'): PolicyRule => ({
  name,
  permissions,
  principals,
})
const policy = (action: Policy['action'], ...rules: PolicyRule[]): Policy => ({ action, rules, shadow: undefined })
const path = (match: StringMatch): Permission => ({ kind: 'path', match })
const UNKNOWN: Permission = { kind: 'unsupported', what: 'metadata' }
const NEVER: Permission = { kind: 'not', of: { kind: 'any' } }
const not = (of: Permission): Permission => ({ kind: 'not', of })
const header = (name: string, value: string): Permission => ({
  kind: 'header',
  header: { name, test: { kind: 'string', match: text('exact', value) }, invert: false, missingAsEmpty: false },
})

const permits = (p: Permission, f = facts()): boolean => decide([policy('allow', rule([p]))], f).allowed
const isPrincipal = (p: Principal, f = facts()): boolean => decide([policy('allow', rule(ANY, [p]))], f).allowed
const denies = (p: Permission, f = facts()): boolean => !decide([policy('deny', rule([p]))], f).allowed

for (const { name, policies, want } of [
  { name: 'no policy allows', policies: [], want: { allowed: true } },
  {
    name: 'allow without rules refuses everything',
    policies: [policy('allow')],
    want: { allowed: false, rule: NO_RULE },
  },
  { name: 'deny without rules refuses nothing', policies: [policy('deny')], want: { allowed: true } },
  {
    name: 'allow needs one matching rule',
    policies: [policy('allow', rule([NEVER]), rule([{ kind: 'any' }]))],
    want: { allowed: true },
  },
  {
    name: 'deny refuses with the name of the rule',
    policies: [policy('deny', rule([NEVER], ANY, 'x'), rule(ANY, ANY, 'ns[a]-policy[p]-rule[1]'))],
    want: { allowed: false, rule: 'ns[a]-policy[p]-rule[1]' },
  },
  { name: 'log never refuses', policies: [policy('log', rule(ANY)), policy('log')], want: { allowed: true } },
  {
    name: 'every policy must agree',
    policies: [policy('allow', rule(ANY)), policy('deny', rule(ANY))],
    want: { allowed: false, rule: 'r' },
  },
  {
    name: 'permission and principal must both match',
    policies: [policy('allow', rule(ANY, [{ kind: 'authenticated', name: text('exact', 'other') }]))],
    want: { allowed: false, rule: NO_RULE },
  },
] satisfies { name: string; policies: Policy[]; want: unknown }[])
  test(`decide: ${name}`, () => assert.deepEqual(decide(policies, facts()), want))

for (const { name, condition, allow, deny } of [
  { name: 'unknown', condition: UNKNOWN, allow: false, deny: true },
  { name: 'not unknown', condition: not(UNKNOWN), allow: false, deny: true },
  { name: 'unknown and true', condition: { kind: 'and', of: [UNKNOWN, { kind: 'any' }] }, allow: false, deny: true },
  { name: 'unknown and false is false', condition: { kind: 'and', of: [UNKNOWN, NEVER] }, allow: false, deny: false },
  {
    name: 'unknown or true is true',
    condition: { kind: 'or', of: [UNKNOWN, { kind: 'any' }] },
    allow: true,
    deny: true,
  },
  { name: 'unknown or false', condition: { kind: 'or', of: [NEVER, UNKNOWN] }, allow: false, deny: true },
  {
    name: 'not (unknown and false) is true',
    condition: not({ kind: 'and', of: [UNKNOWN, NEVER] }),
    allow: true,
    deny: true,
  },
  { name: 'an empty and', condition: { kind: 'and', of: [] }, allow: false, deny: true },
  { name: 'an empty or', condition: { kind: 'or', of: [] }, allow: false, deny: true },
] satisfies { name: string; condition: Permission; allow: boolean; deny: boolean }[]) {
  test(`what cannot be evaluated refuses: ${name}`, () =>
    assert.deepEqual({ allow: permits(condition), deny: denies(condition) }, { allow, deny }))
}
test('what cannot be evaluated refuses: a rule without permissions or principals', () => {
  assert.equal(decide([policy('allow', rule([]))], facts()).allowed, false)
  assert.equal(decide([policy('deny', rule(ANY, []))], facts()).allowed, false)
})

test('a header condition without headers (L4) is unknown, absence tests included', () => {
  const l4 = facts({ header: undefined, path: undefined })
  const absent: Permission = {
    kind: 'header',
    header: { name: 'x', test: { kind: 'absent' }, invert: false, missingAsEmpty: false },
  }
  for (const p of [header('x-team', 'red'), absent, not(header('x-team', 'red'))])
    assert.deepEqual([permits(p, l4), denies(p, l4)], [false, true])
})
test('a path condition without a path is unknown: notPaths cannot be passed with CONNECT', () => {
  const connect = facts({ path: undefined })
  assert.deepEqual(
    [permits(not(path(text('prefix', '/admin'))), connect), denies(path(text('prefix', '/admin')), connect)],
    [false, true],
  )
})

for (const { name, condition, want, over } of [
  { name: 'header', condition: header('x-team', 'red'), want: true },
  { name: 'missing header', condition: header('x-other', 'red'), want: false },
  { name: 'path', condition: path(text('prefix', '/api')), want: true },
  { name: 'port range is inclusive', condition: { kind: 'destination-port', from: 8079, to: 8080 }, want: true },
  { name: 'port above', condition: { kind: 'destination-port', from: 1, to: 8079 }, want: false },
  { name: 'destination ip', condition: { kind: 'destination-ip', range: parseCidr('10.0.0.0', 8)! }, want: true },
  {
    name: 'IPv4-mapped destination',
    condition: { kind: 'destination-ip', range: parseCidr('10.0.0.0', 8)! },
    want: true,
    over: { destinationIp: '::ffff:10.0.0.1' },
  },
  { name: 'server name', condition: { kind: 'server-name', match: text('suffix', '.example') }, want: true },
] satisfies { name: string; condition: Permission; want: boolean; over?: Partial<AuthzFacts> }[])
  test(`permission: ${name}`, () => assert.equal(permits(condition, facts(over)), want))

const named = (value: string): Principal => ({ kind: 'authenticated', name: text('exact', value) })
for (const { name, condition, want, over } of [
  { name: 'authenticated, any name', condition: { kind: 'authenticated', name: undefined }, want: true },
  {
    name: 'authenticated without a certificate',
    condition: { kind: 'authenticated', name: undefined },
    want: false,
    over: { peer: undefined },
  },
  { name: 'URI SAN', condition: named('spiffe://cluster.local/ns/a/sa/b'), want: true },
  {
    name: 'second URI SAN',
    condition: named('spiffe://x/y'),
    want: true,
    over: { peer: peer({ uriSans: ['spiffe://a/b', 'spiffe://x/y'] }) },
  },
  {
    name: 'DNS SAN',
    condition: named('b.example'),
    want: true,
    over: { peer: peer({ uriSans: [], dnsSans: ['b.example'] }) },
  },
  { name: 'subject', condition: named('CN=b'), want: true, over: { peer: peer({ uriSans: [] }) } },
  { name: 'another name', condition: named('spiffe://cluster.local/ns/a/sa/c'), want: false },
  {
    name: 'direct remote ip is the TCP peer',
    condition: { kind: 'direct-remote-ip', range: parseCidr('10.0.0.9', 32)! },
    want: true,
  },
  { name: 'remote ip is the client', condition: { kind: 'remote-ip', range: parseCidr('192.0.2.0', 24)! }, want: true },
  {
    name: 'remote ip is not the TCP peer',
    condition: { kind: 'remote-ip', range: parseCidr('10.0.0.9', 32)! },
    want: false,
  },
  { name: 'not', condition: { kind: 'not', of: named('CN=z') }, want: true },
] satisfies { name: string; condition: Principal; want: boolean; over?: Partial<AuthzFacts> }[])
  test(`principal: ${name}`, () => assert.equal(isPrincipal(condition, facts(over)), want))

for (const spelling of [
  '/admin',
  '/admin/x',
  '/./admin/x',
  '/public/../admin/x',
  '/public/%2e%2e/admin/x',
  '/%61dmin/x',
  '/public/.%2E/admin/x?a=/public',
  '/x/..//../admin/x',
]) {
  test(`a deny rule on /admin holds for the spelling ${spelling}`, () => {
    const seen = withoutQuery(normalizePath(spelling, { normalizePath: true, mergeSlashes: false }))
    assert.equal(denies(path(text('prefix', '/admin')), facts({ path: seen })), true, seen)
  })
}
test('an escaped slash stays data: /public%2F..%2Fadmin is below /, not /admin, for authorization and the upstream alike', () => {
  const seen = normalizePath('/public%2F..%2Fadmin', { normalizePath: true, mergeSlashes: true })
  assert.equal(seen, '/public%2F..%2Fadmin')
})
test('a doubled slash reaches the deny rule where slashes are merged', () => {
  const seen = normalizePath('//admin/x', { normalizePath: true, mergeSlashes: true })
  assert.equal(denies(path(text('prefix', '/admin')), facts({ path: seen })), true)
})

test('shadow rules are evaluated apart and never enforced', () => {
  const dry: Policy = {
    action: 'allow',
    rules: [rule(ANY)],
    shadow: { action: 'deny', rules: [rule(ANY, ANY, 'dry')] },
  }
  const dryAllow: Policy = { action: 'log', rules: [], shadow: { action: 'allow', rules: [rule(ANY, ANY, 'ok')] } }
  assert.equal(decide([dry], facts()).allowed, true)
  assert.deepEqual(shadowDecisions([dry, policy('deny'), dryAllow], facts()), [
    { action: 'deny', wouldAllow: false, rule: 'dry', isDryRun: true },
    { action: 'allow', wouldAllow: true, rule: 'ok', isDryRun: true },
  ])
})
test('an AUDIT policy that matches is told with the name of its rule; rules that decide about ext_authz are not', () => {
  const audit = policy('log', rule([NEVER], ANY, 'other'), rule(ANY, ANY, 'ns[a]-policy[b]-rule[1]'))
  const custom: Policy = {
    ...policy('log'),
    shadow: { action: 'deny', rules: [rule(ANY)], prefix: 'istio_ext_authz_' },
  }
  assert.deepEqual(shadowDecisions([audit, policy('log', rule([NEVER])), custom], facts()), [
    { action: 'log', wouldAllow: true, rule: 'ns[a]-policy[b]-rule[1]', isDryRun: false },
  ])
})
