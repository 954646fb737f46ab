import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { DownstreamTls, Secret } from '../../../model/tls.ts'
import { withSecrets } from '../../../protocols/tls/with-secrets.ts'

const settings = (more: Partial<DownstreamTls>): DownstreamTls => ({
  certificate: { from: 'secret', name: 'own' },
  validation: undefined,
  alpnProtocols: [],
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  cipherSuites: [],
  requireClientCertificate: false,
  ...more,
})
const certificate = (chainPem: string): Secret => ({
  kind: 'certificate',
  certificate: { from: 'pem', chainPem, keyPem: 'key' },
})
const tables = (secrets: Readonly<Record<string, Secret>>): { secret(name: string): Secret | undefined } => ({
  secret: (name) => secrets[name],
})

test('settings without secrets are themselves', () => {
  const own = settings({ certificate: { from: 'workload' } })
  assert.equal(withSecrets(own, undefined), own)
})

test('a certificate is the one that was sent last; the same object while it is the same', () => {
  const own = settings({})
  const first = certificate('one')
  const made = withSecrets(own, tables({ own: first }))
  assert.deepEqual(made.certificate, { from: 'pem', chainPem: 'one', keyPem: 'key' })
  assert.equal(withSecrets(own, tables({ own: first })), made)
  assert.deepEqual(withSecrets(own, tables({ own: certificate('two') })).certificate, {
    from: 'pem',
    chainPem: 'two',
    keyPem: 'key',
  })
})

test('roots, names and revocations of a secret are put on top of the settings', () => {
  const san = (value: string) => ({ type: 'dns', match: { kind: 'exact', value, ignoreCase: false } }) as const
  const own = settings({
    certificate: { from: 'workload' },
    validation: { roots: { from: 'secret', name: 'ca' }, sans: [san('a')], crl: { from: 'pem', crlPem: 'old' } },
  })
  const ca: Secret = {
    kind: 'roots',
    validation: { roots: { from: 'pem', rootsPem: 'roots' }, sans: [san('b')], crl: { from: 'pem', crlPem: 'new' } },
  }
  assert.deepEqual(withSecrets(own, tables({ ca })).validation, {
    roots: { from: 'pem', rootsPem: 'roots' },
    sans: [san('a'), san('b')],
    crl: { from: 'pem', crlPem: 'new' },
  })
  const without: Secret = { kind: 'roots', validation: { roots: { from: 'pem', rootsPem: 'roots' }, sans: [] } }
  assert.deepEqual(withSecrets(own, tables({ ca: without })).validation?.crl, { from: 'pem', crlPem: 'old' })
})

for (const [what, secrets, problem] of [
  ['missing', {}, /the secret own has not come/],
  [
    'roots in the place of a certificate',
    { own: { kind: 'roots', validation: { roots: { from: 'system' }, sans: [] } } },
    /holds no certificate/,
  ],
  ['blocked', { own: { kind: 'blocked', reason: 'pinned' } }, /own cannot be used: pinned/],
] as const)
  test(`is refused: ${what}`, () => {
    assert.throws(() => withSecrets(settings({}), tables(secrets)), { code: 'MESH_TLS_SECRET', message: problem })
  })
