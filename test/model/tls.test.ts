import { test } from 'node:test'
import assert from 'node:assert/strict'
import { type DownstreamTls, isSameForClients } from '../../model/tls.ts'

test('a renewed certificate of ours is for new handshakes; other rules for clients are not', () => {
  const tls: DownstreamTls = {
    certificate: { from: 'pem', chainPem: 'CHAIN', keyPem: 'KEY' },
    validation: { roots: { from: 'pem', rootsPem: 'ROOTS' }, sans: [] },
    requireClientCertificate: true,
    alpnProtocols: [],
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.3',
    cipherSuites: [],
  }
  const isSame = (next: Partial<DownstreamTls>): boolean => isSameForClients(tls, { ...tls, ...next })
  assert.equal(isSame({ certificate: { from: 'pem', chainPem: 'NEXT', keyPem: 'NEXT' } }), true)
  assert.equal(isSame({ certificate: { from: 'workload' } }), false)
  assert.equal(isSame({ validation: { roots: { from: 'pem', rootsPem: 'OTHER' }, sans: [] } }), false)
  assert.equal(isSame({ requireClientCertificate: false }), false)
  assert.equal(isSameForClients(tls, undefined), false)
  assert.equal(isSameForClients(undefined, undefined), true)
})
