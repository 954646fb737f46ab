import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { generateKeyPairSync, type X509Certificate } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import tls from 'node:tls'
import { verifyChain, selectSentChain, type ChainAnswer, type ChainQuestion } from '../../../core/pki/verify-chain.ts'
import { parseCertificates, parseCrls } from '../../../core/pki/x509.ts'
import * as der from '../../../hub/ca/der.ts'
import { certificate, crl, ecKeys, extension, type Made, type Wish } from '../../helpers/odd-certificates.ts'
import { testCa } from '../../helpers/test-ca.ts'

const HOUR = 3_600_000
const uri = 'spiffe://mesh.test/ns/edge/sa/gateway'
const leafOf = (issuer: Made, wish: Wish = {}): Made =>
  certificate({ issuer, uri, ca: 'no-ca', keyUsage: 0x80, uses: ['client', 'server'], ...wish })
const caOf = (issuer: Made | undefined, name: string, wish: Wish = {}): Made =>
  certificate({ ...(issuer ? { issuer } : {}), name, ca: 'ca', keyUsage: 0x06, ...wish })

const root = caOf(undefined, 'root')
const mid = caOf(root, 'mid')
const low = caOf(mid, 'low')
const past = { notBeforeMs: Date.now() - 3 * HOUR, notAfterMs: Date.now() - 2 * HOUR }
const future = { notBeforeMs: Date.now() + 2 * HOUR, notAfterMs: Date.now() + 3 * HOUR }
const unknownCritical = extension('1.2.3.4', 'critical', der.octets(Buffer.of(1)))
const permitted = (domain: string): der.Der =>
  der.sequence(der.explicit(0, der.sequence(der.implicit(6, Buffer.from(domain)))))
const rsa = (bits: number): NonNullable<Wish['keys']> => generateKeyPairSync('rsa', { modulusLength: bits })

type Row = {
  readonly name: string
  readonly chain: readonly Made[]
  readonly roots?: readonly Made[]
  readonly crls?: readonly string[]
  readonly openssl: 'yes' | 'no'
  readonly ours?: 'stricter'
}
const rogue = caOf(undefined, 'root')
const good = leafOf(mid)
const ROWS: readonly Row[] = [
  { name: 'leaf of a root', chain: [leafOf(root)], openssl: 'yes' },
  { name: 'leaf, intermediate', chain: [good, mid], openssl: 'yes' },
  {
    name: 'leaf, two intermediates in the wrong order, the root too',
    chain: [leafOf(low), root, mid, low],
    openssl: 'yes',
  },
  {
    name: 'two roots with one name, the second is the right one',
    chain: [good, mid],
    roots: [rogue, root],
    openssl: 'yes',
  },
  { name: 'RSA 2048', chain: [leafOf(root, { keys: rsa(2048) })], openssl: 'yes' },
  {
    name: 'without an extended key usage',
    chain: [certificate({ issuer: root, uri, ca: 'no-ca', keyUsage: 0x80 })],
    openssl: 'yes',
  },
  {
    name: 'an unknown extension that is not critical',
    chain: [leafOf(root, { extensions: [extension('1.2.3.4', 'plain', der.octets(Buffer.of(1)))] })],
    openssl: 'yes',
  },
  { name: 'the intermediate is missing', chain: [good], openssl: 'no' },
  { name: 'another root of the same name', chain: [leafOf(rogue)], openssl: 'no' },
  {
    name: "signed by another key than the root's",
    chain: [leafOf(root, { signedBy: ecKeys().privateKey })],
    openssl: 'no',
  },
  {
    name: 'the intermediate is signed by another key',
    chain: (() => {
      const m = caOf(root, 'm', { signedBy: ecKeys().privateKey })
      return [leafOf(m), m]
    })(),
    openssl: 'no',
  },
  { name: 'self-signed', chain: [certificate({ name: 'me', uri, ca: 'no-ca', keyUsage: 0x80 })], openssl: 'no' },
  {
    name: 'issued by a leaf',
    chain: (() => {
      const l = leafOf(root, { name: 'leaf' })
      return [leafOf(l), l]
    })(),
    openssl: 'no',
  },
  {
    name: 'issued by one that does not say it is a CA',
    chain: (() => {
      const l = caOf(root, 'x', { ca: 'nothing-said' })
      return [leafOf(l), l]
    })(),
    openssl: 'no',
  },
  {
    name: 'issued by a CA that may not sign certificates',
    chain: (() => {
      const l = caOf(root, 'x', { keyUsage: 0x80 })
      return [leafOf(l), l]
    })(),
    openssl: 'no',
  },
  {
    name: 'longer than pathLenConstraint permits',
    chain: (() => {
      const a = caOf(root, 'a', { pathLength: 0 })
      const b = caOf(a, 'b')
      return [leafOf(b), b, a]
    })(),
    openssl: 'no',
  },
  {
    name: 'as long as pathLenConstraint permits',
    chain: (() => {
      const a = caOf(root, 'a', { pathLength: 1 })
      const b = caOf(a, 'b', { pathLength: 0 })
      return [leafOf(b), b, a]
    })(),
    openssl: 'yes',
  },
  { name: 'for servers only', chain: [leafOf(root, { uses: ['server'] })], openssl: 'no' },
  {
    name: 'an intermediate for servers only',
    chain: (() => {
      const m = caOf(root, 'm', { uses: ['server'] })
      return [leafOf(m), m]
    })(),
    openssl: 'no',
  },
  { name: 'a key that may not sign', chain: [leafOf(root, { keyUsage: 0x20 })], openssl: 'no' },
  { name: 'an unknown critical extension', chain: [leafOf(root, { extensions: [unknownCritical] })], openssl: 'no' },
  {
    name: 'an unknown critical extension in an intermediate',
    chain: (() => {
      const m = caOf(root, 'm', { extensions: [unknownCritical] })
      return [leafOf(m), m]
    })(),
    openssl: 'no',
  },
  {
    name: 'name constraints that it keeps',
    chain: (() => {
      const m = caOf(root, 'm', { extensions: [extension('2.5.29.30', 'critical', permitted('mesh.test'))] })
      return [leafOf(m), m]
    })(),
    openssl: 'yes',
    ours: 'stricter',
  },
  {
    name: 'name constraints that it breaks',
    chain: (() => {
      const m = caOf(root, 'm', { extensions: [extension('2.5.29.30', 'critical', permitted('other.test'))] })
      return [leafOf(m), m]
    })(),
    openssl: 'no',
  },
  { name: 'expired', chain: [leafOf(root, past)], openssl: 'no' },
  { name: 'not valid yet', chain: [leafOf(root, future)], openssl: 'no' },
  {
    name: 'an expired intermediate',
    chain: (() => {
      const m = caOf(root, 'm', past)
      return [leafOf(m), m]
    })(),
    openssl: 'no',
  },
  {
    name: 'an expired root',
    chain: (() => {
      const r = caOf(undefined, 'r', past)
      return [leafOf(r)]
    })(),
    roots: [],
    openssl: 'no',
  },
  { name: 'a key of 1024 bits', chain: [leafOf(root, { keys: rsa(1024) })], openssl: 'no' },
  {
    name: 'an intermediate with a key of 1024 bits',
    chain: (() => {
      const m = caOf(root, 'm', { keys: rsa(1024) })
      return [leafOf(m), m]
    })(),
    openssl: 'no',
  },
  { name: 'signed with SHA-1', chain: [leafOf(root, { digest: 'sha1' })], openssl: 'no' },
  {
    name: 'not revoked',
    chain: [good, mid],
    crls: [crl({ issuer: root, revoked: [] }), crl({ issuer: mid, revoked: [leafOf(mid)] })],
    openssl: 'yes',
  },
  {
    name: 'revoked',
    chain: [good, mid],
    crls: [crl({ issuer: root, revoked: [] }), crl({ issuer: mid, revoked: [good] })],
    openssl: 'no',
  },
  {
    name: 'a revoked intermediate',
    chain: [good, mid],
    crls: [crl({ issuer: root, revoked: [mid] }), crl({ issuer: mid, revoked: [] })],
    openssl: 'no',
  },
  {
    name: 'no list of the intermediate',
    chain: [good, mid],
    crls: [crl({ issuer: root, revoked: [] })],
    openssl: 'no',
  },
  {
    name: 'a list that is too old',
    chain: [good, mid],
    crls: [
      crl({ issuer: root, revoked: [] }),
      crl({ issuer: mid, revoked: [], thisUpdateMs: Date.now() - 2 * HOUR, nextUpdateMs: Date.now() - HOUR }),
    ],
    openssl: 'no',
  },
  {
    name: 'a list that somebody else signed',
    chain: [good, mid],
    crls: [crl({ issuer: root, revoked: [] }), crl({ issuer: mid, revoked: [], signedBy: ecKeys().privateKey })],
    openssl: 'no',
  },
]

const rootsOf = (row: Row): readonly Made[] =>
  row.name === 'an expired root' ? [caOf(undefined, 'r', past)] : (row.roots ?? [root])
function ask(row: Row, more: Partial<ChainQuestion> = {}): ChainAnswer {
  return verifyChain({
    chain: row.chain.map((m) => m.certificate),
    roots: rootsOf(row).map((m) => m.certificate),
    crls: (row.crls ?? []).flatMap(parseCrls),
    peer: 'client',
    nowMs: Date.now(),
    clock: 'right',
    graceMs: 0,
    ...more,
  })
}

const server = testCa().issue('cloud', 'server')
/** What OpenSSL says, and the chain as node:tls gives it. */
async function handshake(row: Row): Promise<{ authorized: boolean; error: string; chain: X509Certificate[] }> {
  const listening = tls.createServer({
    cert: server.chainPem,
    key: server.keyPem,
    ca: rootsOf(row).map((m) => m.pem),
    requestCert: true,
    rejectUnauthorized: false,
    ...(row.crls ? { crl: [...row.crls] } : {}),
  })
  listening.listen(0, '127.0.0.1')
  await once(listening, 'listening')
  // Level 0: also what our own OpenSSL would not send.
  const client = tls.connect({
    port: (listening.address() as AddressInfo).port,
    cert: row.chain.map((m) => m.pem).join(''),
    key: row.chain[0]!.keyPem,
    rejectUnauthorized: false,
    ciphers: 'DEFAULT:@SECLEVEL=0',
  })
  client.on('error', () => {})
  const [socket] = (await once(listening, 'secureConnection')) as [tls.TLSSocket]
  const chain = selectSentChain(socket.getPeerX509Certificate()!)
  const { authorized, authorizationError } = socket
  client.destroy()
  socket.destroy()
  listening.close()
  return { authorized, error: String(authorizationError), chain }
}

for (const row of ROWS)
  test(`as OpenSSL: ${row.name}`, async () => {
    const { authorized, error, chain } = await handshake(row)
    assert.equal(authorized, row.openssl === 'yes', error)
    const answer = ask(row)
    assert.equal(answer.ok, authorized && row.ours !== 'stricter', answer.ok ? '' : answer.reason)
    assert.equal(ask(row, { chain }).ok, answer.ok, 'what node:tls gives is the chain that was sent')
  })

const faulty = ROWS.filter((r) => r.openssl === 'no' && !/expired|not valid yet|too old/.test(r.name))
for (const row of faulty)
  test(`grace forgives nothing else, nor does a clock that is behind: ${row.name}`, () => {
    assert.equal(ask(row, { graceMs: 10 * HOUR }).ok, false)
    assert.equal(ask(row, { nowMs: 0, clock: 'lower-bound' }).ok, false)
  })

test('grace: an expired certificate counts until its NotAfter and the grace, and not a moment longer', () => {
  const old = caOf(undefined, 'old', { notBeforeMs: Date.now() - 1000 * HOUR })
  const expired: Row = { name: '', chain: [leafOf(old, past)], roots: [old], openssl: 'no' }
  const { validFromDate, validToDate } = expired.chain[0]!.certificate
  const [notBeforeMs, notAfterMs] = [validFromDate.getTime(), validToDate.getTime()]
  assert.deepEqual(ask(expired, { graceMs: HOUR, nowMs: notAfterMs + HOUR - 1 }), {
    ok: true,
    notBeforeMs,
    expiredMs: HOUR - 1,
  })
  assert.equal(ask(expired, { graceMs: HOUR, nowMs: notAfterMs + HOUR }).ok, false)
  assert.equal(ask(expired, { graceMs: 0, nowMs: notAfterMs }).ok, false)
  assert.deepEqual(ask(expired, { graceMs: 0, nowMs: notAfterMs - 1 }), { ok: true, notBeforeMs, expiredMs: 0 })
  assert.equal(ask(expired, { graceMs: HOUR, nowMs: notBeforeMs - 1 }).ok, false)
})

test('a clock that is behind: NotBefore says how late it is, and what has expired by that is refused', () => {
  const old = caOf(undefined, 'old', {
    notBeforeMs: Date.now() - 1000 * 24 * HOUR,
    notAfterMs: Date.now() + 1000 * 24 * HOUR,
  })
  const row = (wish: Wish, middle?: Wish): Row => {
    const m = middle && caOf(old, 'm', middle)
    return { name: '', chain: m ? [leafOf(m, wish), m] : [leafOf(old, wish)], roots: [old], openssl: 'yes' }
  }
  const nowMs = 0
  const fresh = { notBeforeMs: Math.floor(Date.now() / 1000) * 1000, notAfterMs: Date.now() + HOUR }
  assert.deepEqual(ask(row(fresh), { nowMs, clock: 'lower-bound' }), {
    ok: true,
    notBeforeMs: fresh.notBeforeMs,
    expiredMs: 0,
  })
  assert.equal(ask(row(fresh), { nowMs, clock: 'right' }).ok, false)
  assert.equal(ask(row(fresh), { nowMs: fresh.notAfterMs + 1, clock: 'lower-bound' }).ok, false)
  assert.equal(
    ask(row(past, { notBeforeMs: Date.now() - HOUR }), { nowMs, clock: 'lower-bound' }).ok,
    false,
    'its CA is newer than its end',
  )
})

test('as a server a peer needs the use of a server', () => {
  const only = (use: 'client' | 'server'): Row => ({ name: '', chain: [leafOf(root, { uses: [use] })], openssl: 'yes' })
  assert.deepEqual(
    (['client', 'server'] as const).map((use) => ask(only(use), { peer: 'server' }).ok),
    [false, true],
  )
})

test('a peer makes us check a bounded number of signatures, and garbage refuses', () => {
  const twins = Array.from({ length: 15 }, () => caOf(root, 'twin', { signedBy: ecKeys().privateKey }))
  assert.equal(ask({ name: '', chain: [leafOf(twins[0]!), ...twins], openssl: 'no' }).ok, false)
  assert.equal(ask({ name: '', chain: Array.from({ length: 17 }, () => good), openssl: 'no' }).ok, false)
  assert.equal(
    verifyChain({ chain: [], roots: [], crls: [], peer: 'client', nowMs: 0, clock: 'right', graceMs: 0 }).ok,
    false,
  )
})

test('PEM files: several blocks, and what is none', () => {
  assert.equal(parseCertificates(`# comment\n${root.pem}between\n${mid.pem}`).length, 2)
  assert.equal(parseCrls(crl({ issuer: root, revoked: [] }) + crl({ issuer: mid, revoked: [good] })).length, 2)
  assert.throws(() => parseCertificates('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'))
  for (const bad of [
    '',
    'text',
    '-----BEGIN X509 CRL-----\nAAAA',
    '-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----',
  ])
    assert.throws(() => parseCrls(bad), RangeError)
  const whole = Buffer.from(crl({ issuer: mid, revoked: [good] }).replace(/-----.*-----/g, ''), 'base64')
  for (let cut = 0; cut < whole.length; cut++)
    assert.throws(() =>
      parseCrls(`-----BEGIN X509 CRL-----\n${whole.subarray(0, cut).toString('base64')}\n-----END X509 CRL-----`),
    )
  assert.throws(
    () =>
      parseCrls(crl({ issuer: mid, revoked: [], extensions: [extension('2.5.29.28', 'critical', der.sequence())] })),
    /critical/,
  )
})
