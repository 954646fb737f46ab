import { test } from 'node:test'
import assert from 'node:assert/strict'
import { generateKeyPairSync, sign, X509Certificate, type KeyObject } from 'node:crypto'
import {
  parseCertificates,
  parseCrls,
  EXTENSION,
  readFields,
  readKeyUsage,
  readPathLength,
  type CertificateFields,
} from '../../../core/pki/x509.ts'
import * as der from '../../../hub/ca/der.ts'
import { certificate, crl, ecKeys, extension } from '../../helpers/odd-certificates.ts'

const fields = (extensions: CertificateFields['extensions']): CertificateFields => ({
  issuer: Buffer.alloc(0),
  subject: Buffer.alloc(0),
  serial: '01',
  extensions,
})
const basic = (...parts: der.Der[]): CertificateFields =>
  fields([{ id: EXTENSION.basicConstraints, critical: true, value: Buffer.from(der.encode(der.sequence(...parts))) }])
const length = (...octets: number[]): CertificateFields =>
  basic(der.boolean('true'), der.integer(Uint8Array.from(octets)))

test('names, serial and extensions of a certificate are read as they stand in it', () => {
  const root = certificate({ ca: 'ca', name: 'root', pathLength: 1, keyUsage: 0x06 })
  const leaf = certificate({ issuer: root, ca: 'nothing-said', uri: 'spiffe://a/b', uses: ['server'] })
  const [ofRoot, ofLeaf] = [readFields(root.certificate), readFields(leaf.certificate)]
  assert.equal(ofLeaf.serial, leaf.serial.toString('hex'))
  assert.ok(ofLeaf.issuer.equals(ofRoot.subject))
  assert.ok(!ofLeaf.subject.equals(ofRoot.subject))
  assert.deepEqual(
    ofLeaf.extensions.map(({ id, critical }) => [id, critical]),
    [
      ['551d0e', false],
      [EXTENSION.authorityKeyId, false],
      [EXTENSION.extKeyUsage, false],
      [EXTENSION.altName, true],
    ],
  )
  assert.deepEqual([readPathLength(ofRoot), readKeyUsage(ofRoot)], [1, 0x06])
  assert.deepEqual([readPathLength(ofLeaf), readKeyUsage(ofLeaf)], [Infinity, undefined])
})

test('an extension is critical when it says so, and not when it says that it is not', () => {
  const said = (octet: number): boolean => {
    const flagged = der.sequence(
      der.oid('1.2.3'),
      der.decode(Buffer.of(0x01, 0x01, octet)),
      der.octets(Uint8Array.of(0x05, 0x00)),
    )
    const made = certificate({ ca: 'nothing-said', extensions: [flagged] })
    return readFields(made.certificate).extensions.find((e) => e.id === '2a03')!.critical
  }
  assert.deepEqual([said(0xff), said(0x00)], [true, false])
})

test('the fields of a certificate are read once', () => {
  const made = certificate({ ca: 'ca', name: 'root' })
  assert.equal(readFields(made.certificate), readFields(made.certificate))
})

test('a path length is the number that it says; what is no such number permits nothing below', () => {
  assert.deepEqual(
    [
      basic(),
      basic(der.boolean('true')),
      length(0),
      length(1),
      length(0x7f),
      length(0x00, 0x80),
      length(0x01, 0x02),
    ].map(readPathLength),
    [Infinity, Infinity, 0, 1, 127, 128, 258],
  )
  // Negative, and larger than any chain.
  const raw = (content: number[]): CertificateFields =>
    fields([
      {
        id: EXTENSION.basicConstraints,
        critical: true,
        value: Buffer.from([0x30, content.length + 2, 0x02, content.length, ...content]),
      },
    ])
  assert.deepEqual([raw([0x80]), raw([0xff, 0xff]), raw([1, 0, 0])].map(readPathLength), [0, 0, 0])
})

test('of key usages the first octet counts; one without bits permits nothing', () => {
  const usage = (...content: number[]): number | undefined =>
    readKeyUsage(
      fields([{ id: EXTENSION.keyUsage, critical: true, value: Buffer.from([0x03, content.length, ...content]) }]),
    )
  assert.deepEqual([usage(7, 0x80), usage(5, 0xa0), usage(7, 0x00, 0x80), usage(0)], [0x80, 0xa0, 0x00, 0])
})

test('a revocation list: whose it is, its dates, whom it names, and who signed it', () => {
  const root = certificate({ ca: 'ca', name: 'root' })
  const [out, still] = [certificate({ issuer: root }), certificate({ issuer: root })]
  const [thisUpdateMs, nextUpdateMs] = [Date.UTC(2026, 0, 2, 3, 4, 5), Date.UTC(2051, 0, 1)]
  const [list, ...more] = parseCrls(crl({ issuer: root, revoked: [out], thisUpdateMs, nextUpdateMs }))
  assert.ok(list && more.length === 0)
  assert.ok(list.issuer.equals(readFields(root.certificate).subject))
  assert.deepEqual([list.thisUpdateMs, list.nextUpdateMs], [thisUpdateMs, nextUpdateMs])
  assert.ok(list.revoked.has(readFields(out.certificate).serial))
  assert.ok(!list.revoked.has(readFields(still.certificate).serial))
  assert.ok(list.isSignedBy(root.certificate.publicKey))
  assert.ok(!list.isSignedBy(ecKeys().publicKey))
})

test('a text may hold several lists, and one that names nobody', () => {
  const [one, two] = [certificate({ ca: 'ca', name: 'one' }), certificate({ ca: 'ca', name: 'two' })]
  const lists = parseCrls(`# one\n${crl({ issuer: one, revoked: [] })}\n${crl({ issuer: two, revoked: [one] })}`)
  assert.deepEqual(
    lists.map((l) => l.revoked.size),
    [0, 1],
  )
})

/** A list by hand: what the helper for good ones does not make. */
function oddList(p: {
  version?: boolean
  next?: boolean
  extensions?: der.Der[]
  algorithm?: string
  key?: KeyObject
}) {
  const issuer = certificate({ ca: 'ca', name: 'root' })
  const key = p.key ?? issuer.key
  const algorithm = der.sequence(der.oid(p.algorithm ?? '1.2.840.10045.4.3.2'))
  const tbs = der.sequence(
    ...(p.version === false ? [] : [der.integer(Uint8Array.of(1))]),
    algorithm,
    issuer.name,
    der.time(Date.UTC(2026, 0, 1)),
    ...(p.next === false ? [] : [der.time(Date.UTC(2027, 0, 1))]),
    der.sequence(der.sequence(der.integer(Uint8Array.of(0x42)), der.time(Date.UTC(2026, 0, 1)))),
    ...(p.extensions ? [der.explicit(0, der.sequence(...p.extensions))] : []),
  )
  const digest = key.asymmetricKeyType === 'ed25519' ? null : 'sha256'
  return der.toPem('X509 CRL', der.encode(der.sequence(tbs, algorithm, der.bits(sign(digest, der.encode(tbs), key)))))
}

test('a list of version 1, and one without an end, are read', () => {
  const [first] = parseCrls(oddList({ version: false }))
  assert.deepEqual([first!.thisUpdateMs, [...first!.revoked]], [Date.UTC(2026, 0, 1), ['42']])
  assert.equal(parseCrls(oddList({}))[0]!.nextUpdateMs, Date.UTC(2027, 0, 1))
  const [endless] = parseCrls(oddList({ next: false }))
  assert.deepEqual([endless!.nextUpdateMs, [...endless!.revoked]], [Infinity, ['42']])
})

test('a list that would mean less than it seems to is refused; what is not critical may be there', () => {
  const scope = (weight: 'critical' | 'plain'): der.Der => extension('2.5.29.28', weight, der.sequence())
  assert.throws(() => parseCrls(oddList({ extensions: [scope('critical')] })), /critical extension/)
  assert.equal(parseCrls(oddList({ extensions: [scope('plain')] })).length, 1)
})

test('signatures of lists: RSA, Ed25519, and none with SHA-1', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const ed = generateKeyPairSync('ed25519')
  for (const [algorithm, { privateKey, publicKey }] of [
    ['1.2.840.113549.1.1.11', rsa],
    ['1.3.101.112', ed],
  ] as const)
    assert.ok(parseCrls(oddList({ algorithm, key: privateKey }))[0]!.isSignedBy(publicKey), algorithm)
  assert.throws(() => parseCrls(oddList({ algorithm: '1.2.840.10045.4.1' })), /not accepted/)
})

test('what is no list, or half of one, is refused', () => {
  const root = certificate({ ca: 'ca', name: 'root' })
  const pem = crl({ issuer: root, revoked: [] })
  const list = (value: der.Der): string => der.toPem('X509 CRL', der.encode(value))
  for (const [text, why] of [
    ['', /there is no X509 CRL/],
    [root.pem, /there is no X509 CRL/],
    [pem.replace('-----END X509 CRL-----', ''), /cut short/],
    [list(der.sequence()), /not a revocation list/],
    [list(der.sequence(der.sequence(), der.sequence(), der.octets(Uint8Array.of(0)))), /not a revocation list/],
    [list(der.sequence(der.sequence(), der.sequence(), der.bits(Uint8Array.of(0)))), /not a revocation list/],
  ] as const)
    assert.throws(() => parseCrls(text), why)
})

test('certificates of a text are read in order, up to a bound; other text between them does not matter', () => {
  const [one, two] = [certificate({ ca: 'ca', name: 'one' }), certificate({ ca: 'ca', name: 'two' })]
  const text = `# one\n${one.pem}\nsubject: two\n${two.pem}`
  assert.deepEqual(
    parseCertificates(text).map((c) => c.fingerprint256),
    [one, two].map((c) => new X509Certificate(c.pem).fingerprint256),
  )
  assert.equal(parseCertificates(text, 2).length, 2)
  assert.throws(() => parseCertificates(text, 1), /more than 1 certificates/)
  assert.deepEqual(parseCertificates('nothing'), [])
})
