/** Handshakes whose peers are verified by our own time and rules, in both directions. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { systemClock } from '../../../core/os/clock.ts'
import type { ConnectionValidity, Identity, PeerVerification, ValidityRules } from '../../../model/identity.ts'
import type { UpstreamTls } from '../../../model/tls.ts'
import { originate } from '../../../protocols/tls/client.ts'
import { TlsTerminator } from '../../../protocols/tls/server.ts'
import { certificate, crl, type Made } from '../../helpers/odd-certificates.ts'
import { testCa } from '../../helpers/test-ca.ts'
import { MUTUAL } from '../mutual-tls.ts'

const HOUR = 3_600_000
const mesh = testCa('mesh.test')
const up: UpstreamTls = {
  certificate: { from: 'workload' },
  validation: { roots: { from: 'workload' }, sans: [] },
  sni: '',
  autoSni: false,
  alpnProtocols: [],
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  cipherSuites: [],
}
const expired = { notBeforeMs: Date.now() - 3 * HOUR, ttlSec: 7_200 }
const future = { notBeforeMs: Math.floor(Date.now() / 1000) * 1000 + 400 * 24 * HOUR }

class Rules implements ValidityRules {
  readonly accepted_: { side: string; expired: boolean; notBeforeMs: number }[] = []
  readonly verification: PeerVerification | undefined
  constructor(verification: PeerVerification | undefined) {
    this.verification = verification
  }
  refusal(): undefined {
    return undefined
  }
  onlyLocal(): undefined {
    return undefined
  }
  readonly endWithinMs = 0
  checkValidity(): ConnectionValidity {
    return { state: 'valid', leftMs: Infinity }
  }
  peerVerification(): PeerVerification | undefined {
    return this.verification
  }
  accepted(p: { side: string; expiredMs: number; notBeforeMs: number }): void {
    this.accepted_.push({ side: p.side, expired: p.expiredMs > 0, notBeforeMs: p.notBeforeMs })
  }
}
const grace = (...graceTrustDomains: string[]): Rules =>
  new Rules({ nowMs: Date.now(), clock: 'right', graceMs: 2 * HOUR, graceTrustDomains })
const wrongClock = (nowMs: number): Rules =>
  new Rules({ nowMs, clock: 'lower-bound', graceMs: 0, graceTrustDomains: [] })
const openssl = (): Rules => new Rules(undefined)
type Side = { readonly identity: Identity; readonly rules: Rules }
const terminators = new WeakMap<Identity, TlsTerminator>()
function terminatorOf(server: Side): TlsTerminator {
  const known = terminators.get(server.identity)
  if (known) return known
  const made = new TlsTerminator(systemClock, {
    current: () => server.identity,
    watch: () => ({ [Symbol.dispose]: () => {} }),
    validity: server.rules,
  })
  terminators.set(server.identity, made)
  return made
}

/** 'ok', or who refused whom and why. */
async function handshake(t: TestContext, client: Side, server: Side, settings = MUTUAL, times = 1): Promise<string> {
  const terminator = terminatorOf(server)
  for (let i = 0; ; i++) {
    const listening = net.createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
    await once(listening, 'listening')
    const near = net.connect((listening.address() as AddressInfo).port, '127.0.0.1')
    near.on('error', () => {})
    const [accepted] = (await once(listening, 'connection')) as [net.Socket]
    accepted.on('error', () => {})
    t.after(() => {
      near.destroy()
      accepted.destroy()
      listening.close()
    })
    const signal = new AbortController().signal
    const [a, b] = await Promise.allSettled([
      originate(near, {
        tls: up,
        identity: client.identity,
        validity: client.rules,
        alpn: [],
        serverName: 'x',
        clock: systemClock,
        timeoutMs: 5_000,
        signal,
      }),
      terminator.terminate(accepted, { tls: settings, handshakeMs: 5_000, signal }),
    ])
    if (a.status === 'rejected') return `client: ${(a.reason as Error).message}`
    if (b.status === 'rejected') return `server: ${(b.reason as Error).message}`
    if (i + 1 === times) return 'ok'
    // Tickets come with the first bytes.
    a.value.stream.resume()
    b.value.stream.end()
    await once(a.value.stream, 'end')
  }
}
const good = (o = {}): Side => ({ identity: mesh.issue('a', 'b', o), rules: openssl() })

test('by OpenSSL an expired client and an expired server are refused', async (t) => {
  assert.match(await handshake(t, good(expired), good()), /^server: .*CERT_HAS_EXPIRED/)
  assert.match(await handshake(t, good(), good(expired)), /^client: .*expired/)
})
test('grace accepts both, each time anew and never by a resumed session, and counts them', async (t) => {
  const [client, server] = [
    { identity: mesh.issue('a', 'b', expired), rules: grace('mesh.test') },
    { identity: mesh.issue('c', 'd', expired), rules: grace('mesh.test') },
  ]
  assert.equal(await handshake(t, client, server, MUTUAL, 3), 'ok')
  assert.deepEqual(
    [client.rules.accepted_.map((a) => [a.side, a.expired]), server.rules.accepted_.map((a) => [a.side, a.expired])],
    [Array(3).fill(['server', true]), Array(3).fill(['client', true])],
  )
})
test('a chain with an intermediate is verified at each connection, also after a session that could have been resumed', async (t) => {
  const root = certificate({ name: 'root', ca: 'ca', keyUsage: 0x06 })
  const mid = certificate({ issuer: root, name: 'mid', ca: 'ca', keyUsage: 0x06 })
  const side = (rules: Rules, notAfterMs = Date.now() + HOUR): Side => {
    const leaf = certificate({
      issuer: mid,
      uri: 'spiffe://mesh.test/ns/a/sa/b',
      ca: 'no-ca',
      keyUsage: 0x80,
      uses: ['client', 'server'],
      notBeforeMs: Date.now() - 2 * HOUR,
      notAfterMs,
    })
    return {
      identity: { ...mesh.issue('a', 'b'), keyPem: leaf.keyPem, chainPem: leaf.pem + mid.pem, rootsPem: root.pem },
      rules,
    }
  }
  const server = side(grace('mesh.test'))
  assert.equal(await handshake(t, side(openssl(), Date.now() - HOUR), server, MUTUAL, 3), 'ok')
  assert.equal(server.rules.accepted_.length, 3)
  // From OpenSSL's rules to our own, with a ticket of before at hand.
  const [plain, client] = [side(openssl()), side(openssl())]
  assert.equal(await handshake(t, client, plain, MUTUAL, 2), 'ok')
  const verification = wrongClock(Date.now())
  assert.equal(await handshake(t, { identity: client.identity, rules: verification }, plain), 'ok')
  assert.equal(verification.accepted_.length, 1)
})
test("grace for a valid peer is OpenSSL's yes", async (t) => {
  const server = { identity: mesh.issue('c', 'd'), rules: grace('mesh.test') }
  assert.equal(await handshake(t, good(), server), 'ok')
  assert.deepEqual(server.rules.accepted_, [])
})
test('grace is for the trust domains that it names, for a bounded time, and for nobody whom the roots do not know', async (t) => {
  const late = { notBeforeMs: Date.now() - 10 * HOUR, ttlSec: 7_200 }
  for (const [client, rules, why] of [
    [mesh.issue('a', 'b', expired), grace('other.test'), /expired at/],
    [mesh.issue('a', 'b', { ...expired, spiffeUri: 'spiffe://old.test/ns/a/sa/b' }), grace('mesh.test'), /expired at/],
    [mesh.issue('a', 'b', late), grace('mesh.test'), /of grace ago/],
    [testCa('mesh.test').issue('a', 'b', expired), grace('mesh.test'), /does not lead to a root/],
    [testCa('mesh.test').issue('a', 'b'), grace('mesh.test'), /does not lead to a root/],
  ] as const) {
    assert.match(
      await handshake(
        t,
        { identity: { ...client, rootsPem: mesh.rootsPem }, rules: openssl() },
        { identity: mesh.issue('c', 'd'), rules },
      ),
      why,
    )
    assert.deepEqual(rules.accepted_, [])
  }
  const aliased = {
    identity: mesh.issue('a', 'b', { ...expired, spiffeUri: 'spiffe://old.test/ns/a/sa/b' }),
    rules: openssl(),
  }
  assert.equal(
    await handshake(t, aliased, { identity: mesh.issue('c', 'd'), rules: grace('mesh.test', 'old.test') }),
    'ok',
  )
})
test('no certificate is no certificate', async (t) => {
  const bare: UpstreamTls = { ...up, certificate: undefined }
  const terminator = new TlsTerminator(systemClock, {
    current: () => mesh.issue('c', 'd'),
    watch: () => ({ [Symbol.dispose]: () => {} }),
    validity: grace('mesh.test'),
  })
  for (const [settings, outcome] of [
    [MUTUAL, 'rejected'],
    [{ ...MUTUAL, requireClientCertificate: false }, 'fulfilled'],
  ] as const) {
    const listening = net.createServer().listen(0, '127.0.0.1')
    await once(listening, 'listening')
    const near = net.connect((listening.address() as AddressInfo).port, '127.0.0.1')
    const [accepted] = (await once(listening, 'connection')) as [net.Socket]
    t.after(() => {
      near.destroy()
      accepted.destroy()
      listening.close()
    })
    const signal = new AbortController().signal
    const [, b] = await Promise.allSettled([
      originate(near, {
        tls: bare,
        identity: mesh.issue('a', 'b'),
        alpn: [],
        serverName: 'x',
        clock: systemClock,
        timeoutMs: 5_000,
        signal,
      }),
      terminator.terminate(accepted, { tls: settings, handshakeMs: 5_000, signal }),
    ])
    assert.equal(b.status, outcome)
  }
})
test('a system clock 400 days behind: the mesh of today is accepted, and says how late it is; by OpenSSL it is not', async (t) => {
  assert.match(await handshake(t, good(future), good()), /NOT_YET_VALID/)
  const [client, server] = [
    { identity: mesh.issue('a', 'b', future), rules: wrongClock(0) },
    { identity: mesh.issue('c', 'd', future), rules: wrongClock(Date.now()) },
  ]
  assert.equal(await handshake(t, client, server), 'ok')
  assert.deepEqual(
    [client.rules.accepted_[0]?.notBeforeMs, server.rules.accepted_[0]?.notBeforeMs],
    [future.notBeforeMs, future.notBeforeMs],
  )
})
test('a system clock that is behind does not accept what has expired: the system says yes, the floor says no', async (t) => {
  const floor = Date.now() + 48 * HOUR
  assert.equal(await handshake(t, good(), good()), 'ok')
  assert.match(
    await handshake(t, good(), { identity: mesh.issue('c', 'd', { ttlSec: 30 * 86_400 }), rules: wrongClock(floor) }),
    /^server: .*expired at/,
  )
  assert.match(
    await handshake(t, { identity: mesh.issue('c', 'd'), rules: wrongClock(floor) }, good()),
    /^client: .*expired at/,
  )
})
test('revocation lists count by OpenSSL and by our own check', async (t) => {
  const root = certificate({ name: 'root', ca: 'ca', keyUsage: 0x06 })
  const leaf = (): Made =>
    certificate({
      issuer: root,
      uri: 'spiffe://mesh.test/ns/a/sa/b',
      ca: 'no-ca',
      keyUsage: 0x80,
      uses: ['client', 'server'],
    })
  const [bad, fine, own] = [leaf(), leaf(), leaf()]
  const lists = crl({ issuer: root, revoked: [bad] })
  const identity = (m: Made, crlPem?: string): Identity => ({
    ...mesh.issue('a', 'b'),
    keyPem: m.keyPem,
    chainPem: m.pem,
    rootsPem: root.pem,
    crlPem,
  })
  for (const rules of [openssl, () => grace('mesh.test'), () => wrongClock(Date.now())]) {
    const server = { identity: identity(own, lists), rules: rules() }
    assert.equal(await handshake(t, { identity: identity(fine), rules: openssl() }, server), 'ok')
    assert.match(
      await handshake(t, { identity: identity(bad), rules: openssl() }, server),
      /^server: .*(REVOKED|revoked)/i,
    )
    assert.match(
      await handshake(
        t,
        { identity: identity(own, lists), rules: rules() },
        { identity: identity(bad), rules: openssl() },
      ),
      /^client: .*revoked/i,
    )
  }
})
