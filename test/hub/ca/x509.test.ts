import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createHash, generateKeyPairSync, X509Certificate, type KeyObject } from 'node:crypto'
import * as der from '../../../hub/ca/der.ts'
import {
  buildCertificate,
  encodeCaName,
  encodeEmptyName,
  encodeIssuerParts,
  hashKeyId,
  type CertificateFields,
} from '../../../hub/ca/x509.ts'

const NOW = Date.parse('2026-11-24T12:00:00Z')
const issuerKeys = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
const keys = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
const name = encodeCaName('demo.mesh', 'root')
const issuer = { name, keyId: hashKeyId(issuerKeys.publicKey), key: issuerKeys.privateKey }

function built(over: Partial<CertificateFields> = {}): { certificate: X509Certificate; serial: string } {
  const { pem, serial } = buildCertificate({
    publicKey: keys.publicKey,
    issuer,
    subject: encodeEmptyName(),
    use: 'workload',
    altNames: [{ kind: 'uri', value: 'spiffe://demo.mesh/ns/a/sa/b' }],
    notBeforeMs: NOW,
    notAfterMs: NOW + 86_400_000,
    ...over,
  })
  return { certificate: new X509Certificate(pem), serial }
}
/** The value of an extension and whether it is critical, undefined where there is none. */
function extensionOf(certificate: X509Certificate, id: string): { critical: boolean; value: string } | undefined {
  const tbs = der.getChild(der.decode(certificate.raw), 0)
  for (const ext of der.listChildren(der.getChild(der.listChildren(tbs).at(-1)!, 0))) {
    const parts = der.listChildren(ext)
    if (der.readOid(parts[0]!) === id)
      return { critical: parts.length === 3, value: der.readContent(parts.at(-1)!).toString('hex') }
  }
  return undefined
}
const KEY_USAGE = '2.5.29.15'
const ALT_NAME = '2.5.29.17'

test('the signature is that of the issuer, over names, dates and key', () => {
  const { certificate } = built()
  assert.ok(certificate.verify(issuerKeys.publicKey))
  assert.ok(!certificate.verify(keys.publicKey))
  assert.ok(certificate.checkPrivateKey(keys.privateKey))
  assert.equal(certificate.issuer, 'O=demo.mesh\nCN=root')
  assert.deepEqual([certificate.validFromDate.getTime(), certificate.validToDate.getTime()], [NOW, NOW + 86_400_000])
})

test('dates are rounded down to seconds; from 2050 on they have four digits of the year (RFC 5280 §4.1.2.5)', () => {
  const late = Date.parse('2051-01-01T00:00:00.900Z')
  assert.equal(built({ notAfterMs: late }).certificate.validToDate.toISOString(), '2051-01-01T00:00:00.000Z')
})

test('names are those that were given, critical where there is no subject (RFC 5280 §4.2.1.6)', () => {
  const altNames = [
    { kind: 'dns', value: 'hub.example' },
    { kind: 'ip', value: '10.0.0.1' },
    { kind: 'ip', value: 'fd00::1' },
  ] as const
  const { certificate } = built({ altNames })
  assert.equal(certificate.subjectAltName, 'DNS:hub.example, IP Address:10.0.0.1, IP Address:FD00:0:0:0:0:0:0:1')
  assert.equal(extensionOf(certificate, ALT_NAME)?.critical, true)
  assert.equal(extensionOf(built({ subject: name }).certificate, ALT_NAME)?.critical, false)
  assert.equal(extensionOf(built({ altNames: [] }).certificate, ALT_NAME), undefined)
  assert.throws(() => built({ altNames: [{ kind: 'ip', value: 'hub' }] }), /hub is not an address/)
})

test('a CA signs certificates, a workload is both sides of TLS and no CA', () => {
  const ca = built({ use: 'ca', subject: name }).certificate
  assert.equal(ca.ca, true)
  assert.equal(ca.keyUsage, undefined)
  const { certificate } = built()
  assert.equal(certificate.ca, false)
  assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'])
  const rsa: KeyObject = generateKeyPairSync('rsa', { modulusLength: 2_048 }).publicKey
  assert.deepEqual(
    [ca, certificate, built({ publicKey: rsa }).certificate].map((c) => extensionOf(c, KEY_USAGE)),
    [
      { critical: true, value: '03020106' }, // keyCertSign, cRLSign
      { critical: true, value: '03020780' }, // digitalSignature
      { critical: true, value: '030205a0' }, // and keyEncipherment
    ],
  )
})

test('a serial is positive, 16 bytes and another each time, unless it is given', () => {
  const serials = Array.from({ length: 50 }, () => built().serial)
  assert.equal(new Set(serials).size, 50)
  for (const serial of serials) assert.match(serial, /^[4-7][0-9a-f]{31}$/)
  const given = built({ serial: Buffer.from('0123', 'hex') })
  assert.deepEqual([given.serial, given.certificate.serialNumber], ['0123', '0123'])
})

test('the key id is the left of the SHA-256 of the key bits (RFC 7093 §2), and leads from a leaf to its issuer', () => {
  const spki = keys.publicKey.export({ type: 'spki', format: 'der' })
  // The bits of a P-256 key are the last 65 bytes.
  const want = createHash('sha256').update(spki.subarray(-65)).digest().subarray(0, 20)
  assert.deepEqual(hashKeyId(keys.publicKey), want)
  const root = built({ publicKey: issuerKeys.publicKey, use: 'ca', subject: name }).certificate
  const parts = encodeIssuerParts(root.raw)
  assert.deepEqual(parts.keyId, issuer.keyId)
  assert.deepEqual(der.encode(parts.name), der.encode(name))
  assert.ok(
    built({ issuer: { ...parts, keyId: parts.keyId!, key: issuerKeys.privateKey } }).certificate.checkIssued(root),
  )
})
