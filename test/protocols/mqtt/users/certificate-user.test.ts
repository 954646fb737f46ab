import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { PeerIdentity } from '../../../../model/identity.ts'
import { readCertificateUser, readCommonName } from '../../../../protocols/mqtt/users/certificate-user.ts'
import { peerOf } from '../../../helpers/mqtt/broker.ts'

const peer = (over: Partial<PeerIdentity>): PeerIdentity => ({ ...peerOf('spiffe://t/ns/a/sa/b'), ...over })

test('the name is that of the certificate that the setting says', () => {
  const one = peer({
    subject: 'CN=pump-7,O=Site',
    dnsSans: ['pump.site', 'x'],
    uriSans: ['spiffe://t/ns/a/sa/b', 'urn:x'],
  })
  assert.deepEqual(
    (['spiffe', 'cn', 'dns-san', 'uri-san', 'subject'] as const).map((from) => readCertificateUser(one, from)),
    ['spiffe://t/ns/a/sa/b', 'pump-7', 'pump.site', 'spiffe://t/ns/a/sa/b', 'CN=pump-7,O=Site'].map((name) => ({
      name,
    })),
  )
})

test('a certificate without such a name, or with one that no user may have, proves nobody, and says why', () => {
  const bare = peer({ spiffeId: undefined, uriSans: [], subject: '' })
  for (const from of ['spiffe', 'cn', 'dns-san', 'uri-san', 'subject'] as const)
    assert.match(JSON.stringify(readCertificateUser(bare, from)), /^"has no /)
  assert.match(JSON.stringify(readCertificateUser(peer({ subject: `CN=${'x'.repeat(300)}` }), 'cn')), /longer than 256/)
  assert.match(JSON.stringify(readCertificateUser(peer({ subject: 'CN=a\\0Ab' }), 'cn')), /control characters/)
})

test('a common name as OpenSSL writes it, and one that only looks like one', () => {
  for (const [subject, name] of [
    ['CN=a\\, b,O=Site', 'a, b'],
    ['O=Site,CN=é\\"x', 'é"x'],
    ['CN=\\#x', '#x'],
    ['CN=\\ lead', ' lead'],
    ['CN=back\\\\slash', 'back\\slash'],
    ['CN=\\C3\\A9', 'é'],
    ['CN=a\\+b+OU=x', 'a+b'],
    ['O=x\\,CN=admin', undefined],
    ['O=x\\\\,CN=pump', 'pump'],
    ['OU=CN=admin', undefined],
    ['O=a\\+CN=admin', undefined],
    ['CN=a,CN=b', undefined],
    ['CN=a+CN=b', undefined],
    ['2.5.4.3=admin', undefined],
    ['CN=#0C0161', undefined],
    ['CN=\\FF', undefined],
    ['', undefined],
    ['nonsense', undefined],
  ] as const)
    assert.equal(readCommonName(subject), name, subject)
})
