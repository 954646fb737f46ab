import { test } from 'node:test'
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import fs from 'node:fs'
import { MeshError } from '../../../core/errors.ts'
import { readPublicKey } from '../../../hub/ca/csr.ts'
import { toPem } from '../../../hub/ca/der.ts'
import { seededRandom } from '../../helpers/random.ts'
import { makeCsr } from './make-csr.ts'

const ec = (namedCurve: string): ReturnType<typeof makeKeys> => makeKeys('ec', { namedCurve })
const rsa = (modulusLength: number): ReturnType<typeof makeKeys> => makeKeys('rsa', { modulusLength })
function makeKeys(...args: ['ec', { namedCurve: string }] | ['rsa', { modulusLength: number }]) {
  return args[0] === 'ec' ? generateKeyPairSync('ec', args[1]) : generateKeyPairSync('rsa', args[1])
}
const refused = (pem: string, want: RegExp): void =>
  assert.throws(
    () => readPublicKey(pem),
    (err) => {
      assert.ok(err instanceof MeshError && err.code === 'MESH_MALFORMED_INPUT', String(err))
      assert.match(err.message, want)
      return true
    },
  )

for (const [name, keys, options] of [
  ['P-256', ec('prime256v1'), {}],
  ['P-384 with SHA-384', ec('secp384r1'), { algorithm: '1.2.840.10045.4.3.3', hash: 'sha384' }],
  ['RSA of 2048 bits', rsa(2_048), {}],
] as const)
  test(`the key of a request is taken: ${name}`, () => {
    const key = readPublicKey(makeCsr({ keys, ...options }).csrPem)
    assert.ok(key.equals(keys.publicKey))
  })

test('a request that openssl made is read', { skip: !fs.existsSync('/usr/bin/openssl') }, () => {
  const pem = execFileSync(
    'openssl',
    [
      'req',
      '-new',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      '/dev/null',
      '-subj',
      '/O=x',
      '-addext',
      'subjectAltName=URI:spiffe://a/b',
    ],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
  )
  assert.equal(readPublicKey(pem).asymmetricKeyDetails?.namedCurve, 'prime256v1')
})

test('a request that its own key did not sign is refused: it proves no possession (RFC 2986 §4.2)', () => {
  refused(makeCsr({ signedBy: ec('prime256v1').privateKey }).csrPem, /did not make/)
})
test('a changed byte of the signed part is noticed', () => {
  const { csrDer } = makeCsr({ commonName: 'abc' })
  csrDer[csrDer.indexOf('abc')] = 0x78
  refused(toPem('CERTIFICATE REQUEST', csrDer), /did not make/)
})
test('weak and unusual keys are refused', () => {
  refused(makeCsr({ keys: rsa(1_024) }).csrPem, /not accepted/)
  refused(makeCsr({ keys: ec('secp256k1') }).csrPem, /not accepted/)
  refused(makeCsr({ algorithm: '1.2.840.10045.4.1' }).csrPem, /algorithm/) // ecdsa-with-SHA1
  refused(makeCsr({ algorithm: '1.2.840.113549.1.1.11' }).csrPem, /did not make/) // says RSA, is EC
})
test('what is no request is refused', () => {
  refused('', /PEM/)
  refused('-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----', /PEM/)
  refused(makeCsr().csrPem.replaceAll('CERTIFICATE REQUEST', 'CERTIFICATE'), /PEM/)
  refused(`${makeCsr().csrPem}${' '.repeat(20_000)}`, /longer/)
})

test('any bytes give a key or MESH_MALFORMED_INPUT, nothing else (mutated requests, deep nesting)', () => {
  const random = seededRandom(7)
  const { csrDer } = makeCsr({ uri: 'spiffe://a/b' })
  for (let i = 0; i < 3_000; i++) {
    const bytes = Buffer.from(csrDer)
    for (let k = 0; k < 1 + random.float() * 3; k++)
      bytes[Math.floor(random.float() * bytes.length)] = Math.floor(random.float() * 256)
    const cut = random.float() < 0.2 ? bytes.subarray(0, Math.floor(random.float() * bytes.length)) : bytes
    try {
      readPublicKey(toPem('CERTIFICATE REQUEST', cut))
    } catch (err) {
      assert.ok(err instanceof MeshError && err.code === 'MESH_MALFORMED_INPUT', String(err))
    }
  }
  refused(toPem('CERTIFICATE REQUEST', Buffer.alloc(8_000, Buffer.from([0x30, 0x80]))), /DER/)
})
