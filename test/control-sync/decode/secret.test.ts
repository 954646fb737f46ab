import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import { decode } from '../../../control-sync/decode/decode.ts'
import { issuesOf, sample } from '../../helpers/control-plane/resources.ts'
import { testCa } from '../../helpers/test-ca.ts'

const ca = testCa()
const [one, other] = [ca.issue('a', 'one'), ca.issue('a', 'other')]
const secret = (type: JsonObject): ReturnType<typeof decode<'secret'>> =>
  decode(
    'secret',
    sample({ '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret', name: 's', ...type })
      .bytes,
  )
const inline = (text: string): JsonObject => ({ inline_bytes: Buffer.from(text).toString('base64') })
const pair = (chain: string, key: string, more: JsonObject = {}): JsonObject => ({
  tls_certificate: { certificate_chain: inline(chain), private_key: inline(key), ...more },
})

test('a certificate with its key', () => {
  const decoded = secret(pair(one.chainPem, one.keyPem))
  assert.deepEqual(decoded.ok && decoded.value, {
    kind: 'certificate',
    certificate: { from: 'pem', chainPem: one.chainPem, keyPem: one.keyPem },
  })
})

for (const { what, type, problem } of [
  { what: 'the key of another', type: pair(one.chainPem, other.keyPem), problem: /private_key: is not the key/ },
  { what: 'no certificate', type: pair('text', one.keyPem), problem: /certificate_chain: holds no certificate/ },
  { what: 'no key', type: pair(one.chainPem, 'text'), problem: /private_key: holds no key/ },
  {
    what: 'a chain alone',
    type: { tls_certificate: { certificate_chain: inline(one.chainPem) } },
    problem: /private_key/,
  },
  {
    what: 'a key with a password',
    type: pair(one.chainPem, one.keyPem, { password: inline('secret') }),
    problem: /password and pkcs12 are not supported/,
  },
  { what: 'neither', type: {}, problem: /neither a certificate nor roots/ },
])
  test(`is refused, and the one before it serves on: ${what}`, () => {
    const decoded = secret(type)
    assert.equal(decoded.ok, false)
    const told = issuesOf(decoded)
      .map((i) => `${i.path}: ${i.problem}`)
      .join()
    assert.match(told, problem)
    assert.ok(!told.includes('PRIVATE KEY') && !told.includes(one.keyPem.slice(40, 60)), 'no byte of the key is told')
  })

test('roots, with a list of revocations', () => {
  const decoded = secret({ validation_context: { trusted_ca: inline(ca.rootsPem), crl: inline('CRL') } })
  assert.deepEqual(decoded.ok && decoded.value, {
    kind: 'roots',
    validation: {
      roots: { from: 'pem', rootsPem: ca.rootsPem },
      sans: [],
      crl: { from: 'pem', crlPem: 'CRL' },
    },
  })
})

for (const [what, context] of Object.entries({
  'a depth of the chain': { trusted_ca: inline(ca.rootsPem), max_verify_depth: 1 },
  'no roots': {},
}))
  test(`roots that ask for more than is checked let nobody in, also not by those before them: ${what}`, () => {
    const decoded = secret({ validation_context: context })
    assert.equal(decoded.ok && decoded.value.kind, 'blocked')
    assert.equal(issuesOf(decoded).length, 1)
  })
