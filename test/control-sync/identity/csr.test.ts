import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createPublicKey, createPrivateKey, verify } from 'node:crypto'
import forge from 'node-forge'
import { createCsr, createKey } from '../../../control-sync/identity/csr.ts'

for (const kind of ['ecdsa-p256', 'rsa-2048'] as const)
  test(`the request carries our ${kind} key, one URI SAN and a signature by that key (RFC 2986 §4.2)`, async () => {
    const key = await createKey(kind)
    assert.equal(createPrivateKey(key).asymmetricKeyType, kind === 'rsa-2048' ? 'rsa' : 'ec')
    const pem = createCsr(key, 'spiffe://mesh.test/ns/edge/sa/gateway')
    const der = Buffer.from(pem.replace(/-----.*-----/g, ''), 'base64')
    const [info, , signature] = forge.asn1.fromDer(der.toString('latin1'), {
      strict: true,
      decodeBitStrings: false,
    } as never).value as forge.asn1.Asn1[]
    const signed = Buffer.from(forge.asn1.toDer(info!).getBytes(), 'latin1')
    const bits = Buffer.from(signature!.value as string, 'latin1').subarray(1)
    const publicKey = createPublicKey(createPrivateKey(key))
    assert.ok(verify('sha256', signed, publicKey, bits))
    assert.ok(!verify('sha256', Buffer.concat([signed, Buffer.of(0)]), publicKey, bits))
    assert.ok(signed.includes('spiffe://mesh.test/ns/edge/sa/gateway'))
    assert.ok(signed.includes(publicKey.export({ type: 'spki', format: 'der' })))
    assert.ok(pem.split('\n').every((line) => line.length <= 64))
  })
test('every key is a new one', async () => {
  assert.notEqual(await createKey(), await createKey())
})
