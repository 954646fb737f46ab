/** The names of a certificate, as Node writes them and as matchers read them. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { X509Certificate } from 'node:crypto'
import type { SanMatch } from '../../../model/tls.ts'
import { matchesSans, parseSubjectAltName, readPeer } from '../../../protocols/tls/peer.ts'

const certificate = (subjectAltName: string, subject = 'CN=a'): X509Certificate =>
  ({
    subjectAltName,
    subject,
    fingerprint256: 'AB:CD',
    serialNumber: '0A',
    validToDate: new Date(7),
  }) as unknown as X509Certificate
const peer = (names: string) => readPeer(certificate(names))!

for (const { text, names } of [
  { text: '', names: [] },
  { text: 'DNS:a.test', names: [['DNS', 'a.test']] },
  {
    text: 'DNS:a, IP Address:10.0.0.1, URI:spiffe://t/ns/a',
    names: [
      ['DNS', 'a'],
      ['IP Address', '10.0.0.1'],
      ['URI', 'spiffe://t/ns/a'],
    ],
  },
  { text: 'DNS:"x, URI:spiffe://evil/a"', names: [['DNS', 'x, URI:spiffe://evil/a']] },
  { text: 'DNS:"a\\"b"', names: [['DNS', 'a"b']] },
  { text: 'DNS:a, ', names: undefined },
  { text: 'DNS:a b,c', names: undefined },
  { text: 'DNS:"a', names: undefined },
  { text: 'DNS:"\\x"', names: undefined },
  { text: 'nothing', names: undefined },
  {
    text: Array.from({ length: 1024 }, () => 'DNS:a').join(', '),
    names: Array.from({ length: 1024 }, () => ['DNS', 'a']),
  },
  { text: Array.from({ length: 1025 }, () => 'DNS:a').join(', '), names: undefined },
])
  test(`alternative names: ${text.slice(0, 50)}${text.length > 50 ? `… (${text.length})` : ''}`, () => {
    assert.deepEqual(
      parseSubjectAltName(text)?.map(({ type, value }) => [type, value]),
      names,
    )
  })

test('a SPIFFE id is the only URI of its certificate', () => {
  assert.equal(peer('URI:spiffe://t/ns/a/sa/b').identity.spiffeId?.uri, 'spiffe://t/ns/a/sa/b')
  assert.equal(peer('URI:spiffe://t/ns/a/sa/b, URI:spiffe://t/ns/a/sa/c').identity.spiffeId, undefined)
  assert.equal(peer('URI:https://a').identity.spiffeId, undefined)
})
test('subject, fingerprint and end of a certificate', () => {
  const { identity } = readPeer(certificate('', 'C=DE\nO=Works + OU=Line\nCN=a'))!
  assert.equal(identity.subject, 'CN=a,O=Works+OU=Line,C=DE')
  assert.equal(identity.sha256, 'abcd')
  assert.equal(identity.notAfterMs, 7)
})
test('names that cannot be read without doubt are no peer', () => {
  assert.equal(readPeer(certificate('DNS:"a')), undefined)
})

const exact = (type: SanMatch['type'], value: string): SanMatch => ({
  type,
  match: { kind: 'exact', value, ignoreCase: false },
})
const SANS = 'DNS:*.a.test, DNS:b.test, IP Address:10.0.0.1, URI:spiffe://t/ns/a'
for (const { asks, yes } of [
  { asks: [], yes: true },
  { asks: [exact('uri', 'spiffe://t/ns/a')], yes: true },
  { asks: [exact('uri', 'b.test')], yes: false },
  { asks: [exact('dns', 'b.test')], yes: true },
  { asks: [exact('dns', 'B.TEST')], yes: true },
  { asks: [exact('dns', 'x.a.test')], yes: true },
  { asks: [exact('dns', 'x.y.a.test')], yes: false },
  { asks: [exact('dns', 'a.test')], yes: false },
  { asks: [exact('dns', '10.0.0.1')], yes: false },
  { asks: [exact('ip', '10.0.0.1')], yes: true },
  { asks: [exact('ip', 'b.test')], yes: false },
  { asks: [exact('any', '10.0.0.1')], yes: true },
  { asks: [exact('any', 'x.a.test')], yes: true },
  { asks: [exact('any', 'c.test')], yes: false },
  { asks: [exact('dns', 'c.test'), exact('dns', 'b.test')], yes: true },
])
  test(`${asks.map((m) => `${m.type} ${m.match.kind === 'exact' ? m.match.value : ''}`).join(' or ') || 'nothing'} is ${yes ? '' : 'not '}asked for in vain`, () => {
    assert.equal(matchesSans(asks, peer(SANS)), yes)
  })
test('a wildcard of the certificate stands for one label, never for a part of an address', () => {
  assert.equal(matchesSans([exact('dns', '10.0.0.1')], peer('DNS:*.0.0.1')), false)
})
