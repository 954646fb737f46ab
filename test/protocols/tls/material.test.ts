/** TLS settings as OpenSSL takes them, and which of them may share a context. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError } from '../../../core/errors.ts'
import type { Identity } from '../../../model/identity.ts'
import type { DownstreamTls, UpstreamTls } from '../../../model/tls.ts'
import { selectMaterial, selectRoots } from '../../../protocols/tls/material.ts'

const identity = (more: Partial<Identity> = {}): Identity =>
  ({ chainPem: 'chain', keyPem: 'key', rootsPem: 'mesh roots', ...more }) as Identity
const settings = (more: Partial<UpstreamTls> = {}): UpstreamTls => ({
  certificate: { from: 'workload' },
  alpnProtocols: ['h2'],
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  cipherSuites: [],
  validation: { roots: { from: 'workload' }, sans: [] },
  sni: 'a',
  autoSni: false,
  ...more,
})

test('the certificate and the roots of the workload', () => {
  const { options, usesIdentity } = selectMaterial(settings(), identity({ crlPem: 'list' }))
  assert.equal(usesIdentity, true)
  assert.deepEqual(options, {
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.3',
    cert: 'chain',
    key: 'key',
    ca: ['mesh roots'],
    crl: 'list',
  })
})
test('a certificate and roots that the configuration carries need no identity', () => {
  const made = selectMaterial(
    settings({
      certificate: { from: 'pem', chainPem: 'c', keyPem: 'k' },
      validation: { roots: { from: 'pem', rootsPem: 'r' }, sans: [], crl: { from: 'pem', crlPem: 'l' } },
    }),
    undefined,
  )
  assert.equal(made.usesIdentity, false)
  const { cert, key, ca, crl } = made.options
  assert.deepEqual({ cert, key, ca, crl }, { cert: 'c', key: 'k', ca: ['r'], crl: 'l' })
})
test('who wants the identity before there is one is told so', () => {
  for (const wanting of [settings({ validation: undefined }), settings({ certificate: undefined })])
    assert.throws(
      () => selectMaterial(wanting, undefined),
      (e) => e instanceof MeshError && e.code === 'MESH_NO_IDENTITY',
    )
})

for (const { name, validation, roots } of [
  { name: 'nobody is verified', validation: undefined, roots: [] },
  { name: 'a file that was not read', validation: { roots: { from: 'file', path: '/x' }, sans: [] }, roots: [] },
  { name: 'those of the configuration', validation: { roots: { from: 'pem', rootsPem: 'r' }, sans: [] }, roots: ['r'] },
  { name: 'those of the mesh', validation: { roots: { from: 'workload' }, sans: [] }, roots: ['mesh roots'] },
])
  test(`roots: ${name}`, () => {
    assert.deepEqual(selectRoots(settings({ validation: validation as UpstreamTls['validation'] }), identity()), roots)
  })

test('suites that are named stand behind those of TLS 1.3, in order and without groups', () => {
  const { options } = selectMaterial(settings({ cipherSuites: ['[A|B]', 'C'] }), identity())
  assert.match(options.ciphers!, /^TLS_AES_256_GCM_SHA384:TLS_[^]*:A:B:C$/)
})

test('equal settings with the same identity have equal keys, names to check aside', () => {
  const me = identity()
  const keyOf = (of: UpstreamTls | DownstreamTls, who = me): string => selectMaterial(of, who).key
  assert.equal(keyOf(settings()), keyOf(settings({ sni: 'b' })))
  const others = [
    keyOf(settings(), identity()),
    keyOf(settings({ minVersion: 'TLSv1.3' })),
    keyOf(settings({ alpnProtocols: ['http/1.1'] })),
    keyOf(settings({ cipherSuites: ['A'] })),
    keyOf(settings({ certificate: undefined })),
    keyOf(settings({ validation: { roots: { from: 'workload' }, sans: [], crl: { from: 'pem', crlPem: 'l' } } })),
    keyOf({ ...settings(), requireClientCertificate: true } as unknown as DownstreamTls),
    keyOf({ ...settings(), requireClientCertificate: false } as unknown as DownstreamTls),
  ]
  assert.equal(new Set([keyOf(settings()), ...others]).size, others.length + 1)
})
