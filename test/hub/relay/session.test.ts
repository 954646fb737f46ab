/** What a device's streams are for. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { systemClock } from '../../../core/os/clock.ts'
import { MeshError } from '../../../core/errors.ts'
import { createRelayAuthority } from '../../../control-sync/fleet/relay-authority.ts'
import { fleet } from './rig.ts'

const wish = {
  current: undefined,
  spiffeUri: 'spiffe://demo.mesh/ns/edge/sa/gateway',
  key: 'ecdsa-p256',
  certificateRefused: false,
} as const

test('a certificate is renewed over the relay, for the identity that asks', async (t) => {
  const f = await fleet(t, '{"resources": []}')
  const authority = createRelayAuthority(f.link(), f.control, systemClock)
  const { identity } = await authority({ ...wish, spiffeUri: 'spiffe://demo.mesh/ns/other/sa/root', ttlSec: 600 })
  assert.equal(identity.spiffeId.uri, wish.spiffeUri)
  assert.notEqual(identity.keyPem, f.identity.keyPem)
  assert.ok(identity.notAfterMs - Date.now() < 700_000)
})

test('a life above the maximum is refused, and the default comes instead', async (t) => {
  const f = await fleet(t, '{"resources": []}', 'certificateTtlSec: 600\nmaxCertificateTtlSec: 1000\n')
  const authority = createRelayAuthority(f.link(), f.control, systemClock)
  const { identity, ttlRefused } = await authority({ ...wish, ttlSec: 5_000 })
  assert.equal(ttlRefused?.code, 'MESH_CERTIFICATE_TTL')
  const leaf = new X509Certificate(identity.chainPem)
  assert.ok(leaf.validToDate.getTime() - Date.now() < 700_000)
})

test('a request for a certificate that cannot be read ends its stream only', async (t) => {
  const f = await fleet(t, '{"resources": []}')
  const { mux } = await f.link().connect({ certificateRefused: false })
  for (const [bytes, code] of [
    [Buffer.from([0xff, 0xff, 0xff]), 'MESH_MALFORMED_INPUT'],
    [Buffer.alloc(0), 'MESH_MALFORMED_INPUT'],
  ] as const) {
    const reason = await new Promise<MeshError>((resolve) => {
      const stream = mux.open('certificate')
      stream.listen({ onMessage: () => undefined, onReset: resolve })
      stream.send(bytes)
    })
    assert.equal(reason.code, code)
  }
  assert.equal(mux.openStreams, 0)
})

test('a device opens no tunnel, and not more streams than there may be', async (t) => {
  const f = await fleet(t, '{"resources": []}')
  const { mux } = await f.link().connect({ certificateRefused: false })
  const reset = (kind: 'tunnel' | 'configuration'): Promise<string> =>
    new Promise((resolve) => {
      mux.open(kind).listen({ onMessage: () => undefined, onReset: ({ code }) => resolve(code) })
    })
  assert.equal(await reset('tunnel'), 'MESH_CONTROL_PROTOCOL')
  const codes = Array.from({ length: 17 }, () => reset('configuration'))
  assert.equal(await Promise.race(codes), 'MESH_CONTROL_SLOW_DOWN')
})

test('a device that opens and resets streams in a loop is thrown out, and the hub has asked little about them', async (t) => {
  const f = await fleet(t, '{"resources": []}')
  const { mux } = await f.link().connect({ certificateRefused: false })
  const reason = await new Promise<MeshError>((resolve) => {
    mux.open('configuration').listen({ onMessage: () => undefined, onReset: resolve })
    for (let i = 0; i < 400; i++) mux.open('configuration').reset(new MeshError('MESH_DRAINING', 'again'))
  })
  assert.equal(reason.code, 'MESH_CONTROL_SLOW_DOWN')
})
