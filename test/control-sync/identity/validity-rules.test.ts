import { test } from 'node:test'
import assert from 'node:assert/strict'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import { parseSpiffeId, type CertificatesUsed, type Identity } from '../../../model/identity.ts'
import type { TimeFloor } from '../../../control-sync/identity/time-floor.ts'
import { createValidityRules, type ExpiredSettings } from '../../../control-sync/identity/validity-rules.ts'

const HOUR_MS = 3_600_000
/** When our certificate ends. */
const END = 1_700_000_000_000
const own = { spiffeId: parseSpiffeId('spiffe://site.mesh/ns/edge/sa/gw')!, notAfterMs: END } as Identity
const peerOf = (uri: string): CertificatesUsed['peer'] =>
  ({ spiffeId: parseSpiffeId(uri), subject: 'CN=x', notAfterMs: END - HOUR_MS }) as CertificatesUsed['peer']
const NO_PEER: CertificatesUsed = { usesIdentity: true, peer: undefined, byMeshRoots: true, staysHere: false }

function rig(settings: Partial<ExpiredSettings> = {}) {
  const at = { nowMs: END - 1, isConnected: false, clockIsWrong: false, seen: [] as number[] }
  const metrics = new Metrics()
  const rules = createValidityRules({
    settings: {
      mode: 'strict',
      graceHours: 2,
      trustDomains: ['other.mesh'],
      openConnections: 'end',
      endWithinMs: 5_000,
      ...settings,
    },
    floor: {
      nowMs: () => at.nowMs,
      get clockIsWrong() {
        return at.clockIsWrong
      },
      seen: (ms: number) => {
        at.seen.push(ms)
      },
    } as unknown as TimeFloor,
    identity: () => own,
    connected: () => at.isConnected,
    log: silentLog,
    metrics,
  })
  return { at, rules, metrics }
}

test('strict: our certificate is refused from its last instant on', () => {
  const { at, rules } = rig()
  assert.equal(rules.refusal(), undefined)
  assert.deepEqual(rules.checkValidity(NO_PEER), { state: 'valid', leftMs: 1 })
  at.nowMs = END
  assert.equal(rules.refusal()?.code, 'MESH_IDENTITY_EXPIRED')
  assert.equal(rules.checkValidity(NO_PEER).state, 'ended')
  assert.deepEqual(rules.checkValidity({ ...NO_PEER, usesIdentity: false }), { state: 'valid', leftMs: Infinity })
})

test('site-grace: two hours more while the control plane is away, and not a moment while it answers', () => {
  const { at, rules } = rig({ mode: 'site-grace' })
  at.nowMs = END + 2 * HOUR_MS - 1
  assert.deepEqual([rules.refusal(), rules.problem()?.code], [undefined, 'MESH_IDENTITY_GRACE'])
  assert.match(rules.problem()!.message, /site\.mesh, other\.mesh count until/)
  assert.deepEqual(rules.checkValidity(NO_PEER), { state: 'valid', leftMs: 1 })
  at.isConnected = true
  assert.deepEqual([rules.refusal()?.code, rules.problem()], ['MESH_IDENTITY_EXPIRED', undefined])
  at.isConnected = false
  at.nowMs = END + 2 * HOUR_MS
  assert.deepEqual([rules.refusal()?.code, rules.problem()], ['MESH_IDENTITY_EXPIRED', undefined])
})

test('serve-local: what stays on this machine is carried, everything else ends', () => {
  const { at, rules } = rig({ mode: 'serve-local' })
  assert.equal(rules.onlyLocal(), undefined)
  at.nowMs = END
  assert.equal(rules.onlyLocal()?.code, 'MESH_IDENTITY_EXPIRED')
  const plain: CertificatesUsed = { ...NO_PEER, usesIdentity: false }
  assert.equal(rules.checkValidity(plain).state, 'ended')
  assert.equal(rules.checkValidity({ ...plain, staysHere: true }).state, 'valid')
  assert.equal(rig().rules.onlyLocal(), undefined)
})

test('end-with-peer: the certificate of the peer ends the connection, with grace for peers of the site only', () => {
  const used: CertificatesUsed = { ...NO_PEER, peer: peerOf('spiffe://other.mesh/ns/a/sa/b') }
  for (const [settings, certificates, want] of [
    [{}, used, 'valid'],
    [{ openConnections: 'end-with-peer' }, used, 'ended'],
    [{ openConnections: 'end-with-peer', mode: 'site-grace' }, used, 'valid'],
    [{ openConnections: 'end-with-peer', mode: 'site-grace' }, { ...used, byMeshRoots: false }, 'ended'],
    [
      { openConnections: 'end-with-peer', mode: 'site-grace' },
      { ...used, peer: peerOf('spiffe://foreign.mesh/ns/a/sa/b') },
      'ended',
    ],
  ] as const) {
    const validity = rig(settings).rules.checkValidity(certificates)
    assert.equal(validity.state, want, JSON.stringify(settings))
    if (validity.state === 'ended') assert.equal(validity.reason.code, 'MESH_PEER_EXPIRED')
  }
})

test('keep: nothing that is open ends by time', () => {
  const { at, rules } = rig({ openConnections: 'keep' })
  at.nowMs = END + HOUR_MS
  assert.deepEqual(rules.checkValidity(NO_PEER), { state: 'valid', leftMs: Infinity })
})

test("OpenSSL's check is replaced only where the clock is wrong or there is grace", () => {
  const { at, rules } = rig()
  assert.equal(rules.peerVerification(), undefined)
  at.clockIsWrong = true
  assert.deepEqual(rules.peerVerification(), {
    nowMs: END - 1,
    clock: 'lower-bound',
    graceMs: 0,
    graceTrustDomains: ['site.mesh', 'other.mesh'],
  })
  const grace = rig({ mode: 'site-grace' })
  assert.deepEqual(
    [grace.rules.peerVerification()?.clock, grace.rules.peerVerification()?.graceMs],
    ['right', 2 * HOUR_MS],
  )
  grace.at.isConnected = true
  assert.equal(grace.rules.peerVerification(), undefined)
})

test('an accepted peer tells the time, and is counted when its certificate had expired', () => {
  const { at, rules, metrics } = rig()
  rules.accepted({ side: 'client', notBeforeMs: 5, expiredMs: 0, spiffeUri: undefined })
  rules.accepted({ side: 'server', notBeforeMs: 6, expiredMs: 1_000, spiffeUri: 'spiffe://a/b' })
  assert.deepEqual(at.seen, [5, 6])
  assert.equal(metrics.total('mesh_identity_grace_total'), 1)
  assert.equal(metrics.total('mesh_identity_grace_total', { peer: 'server' }), 1)
})
