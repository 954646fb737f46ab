import { test } from 'node:test'
import assert from 'node:assert/strict'
import { facts } from '../helpers/substitution-facts.ts'
import { parseSubstitution, substitute } from '../../model/substitution.ts'

for (const { text, want, unknown } of [
  { text: 'plain', want: 'plain' },
  { text: '100%%', want: '100%' },
  { text: '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%', want: '192.0.2.1' },
  {
    text: '%DOWNSTREAM_REMOTE_ADDRESS%-%DOWNSTREAM_LOCAL_ADDRESS%-%DOWNSTREAM_LOCAL_PORT%',
    want: '192.0.2.1:4000-10.0.0.1:80-80',
  },
  { text: '%REQ(X-A)%', want: 'va' },
  { text: '%REQ(x-none?:path)%', want: '/p' },
  { text: '%REQ(x-a):1%', want: 'v' },
  { text: '%START_TIME%', want: '1970-01-01T00:00:00.000Z' },
  { text: '%RESP(x)%', want: '' },
  { text: '%REQUESTED_SERVER_NAME%', want: 'a.example' },
  { text: 'a %UPSTREAM_METADATA(x)% b', want: 'a %UPSTREAM_METADATA(x)% b', unknown: ['%UPSTREAM_METADATA(x)%'] },
  { text: '%START_TIME(%s)%', want: '0' },
  { text: '%START_TIME(%a, %d %b %Y %H:%M:%S.%3f %Z)% %PROTOCOL%', want: 'Thu, 01 Jan 1970 00:00:00.000 UTC HTTP/1.1' },
  { text: '%START_TIME(%F %T.%f)%', want: '1970-01-01 00:00:00.000000000' },
  { text: '%START_TIME(%Q)%', want: '%START_TIME(%Q)%', unknown: ['%START_TIME(%Q)%'] },
  { text: 'lone % and %', want: 'lone % and %', unknown: ['% and %'] },
  { text: '%foo%', want: '%foo%', unknown: ['%foo%'] },
  {
    text: '%DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_REMOTE_PORT%',
    want: '192.0.2.9:4001 192.0.2.9 4000',
  },
  { text: '%ROUTE_NAME% %UPSTREAM_CLUSTER% %RESPONSE_CODE% %REQUEST_HEADER(x-a)%', want: 'r c 200 va' },
  { text: '<%DOWNSTREAM_PEER_URI_SAN%>', want: '<>' },
] as { text: string; want: string; unknown?: string[] }[]) {
  test(`substitution of ${text}`, () => {
    const made = parseSubstitution(text)
    assert.equal(substitute(made, facts), want)
    if (unknown) assert.deepEqual(made.unknown, unknown)
  })
}

test('who the client proved to be can be told on', () => {
  const peer = {
    spiffeId: undefined,
    uriSans: ['spiffe://a/b', 'urn:c'],
    dnsSans: ['d'],
    subject: 'CN=e',
    sha256: 'f0',
    notAfterMs: 0,
  }
  assert.equal(
    substitute(
      parseSubstitution(
        '%DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_PEER_DNS_SAN% %DOWNSTREAM_PEER_SUBJECT% %DOWNSTREAM_PEER_FINGERPRINT_256%',
      ),
      { ...facts, peer },
    ),
    'spiffe://a/b,urn:c d CN=e f0',
  )
})

test('addresses of IPv6 stand in brackets beside a port, and without them alone', () => {
  const v6 = { ...facts, client: { host: '2001:db8::1', port: 7 } }
  const text = '%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%'
  assert.equal(substitute(parseSubstitution(text), v6), '[2001:db8::1]:7 2001:db8::1')
})

test('header operators read the response where one is edited, and an empty header is there', () => {
  const response = (name: string): string | undefined => ({ a: '', b: 'vb' })[name]
  const made = parseSubstitution('[%RESP(a?b)%] [%RESP(none?b)%] [%RESPONSE_HEADER(B)%] [%REQ(none)%]')
  assert.equal(substitute(made, { ...facts, response }), '[] [vb] [vb] []')
  assert.deepEqual(made.unknown, [])
})

test('operators that take no argument are not known with one, and those that need one not without', () => {
  for (const text of ['%PROTOCOL(x)%', '%REQ%', '%RESP%', '%REQ()%']) {
    const made = parseSubstitution(text)
    assert.deepEqual([substitute(made, facts), made.unknown], [text, [text]])
  }
})

test('a bound cuts what is longer and leaves what is absent', () => {
  const made = parseSubstitution('%REQ(x-a):9% %REQ(x-none):2% %PROTOCOL:4%')
  assert.equal(substitute(made, facts), 'va  HTTP')
})

test('text between operators is one part', () => {
  assert.deepEqual(parseSubstitution('a%%b%%c').parts, ['a%b%c'])
  assert.equal(parseSubstitution('a%PROTOCOL%%PROTOCOL%b').parts.length, 4)
  assert.deepEqual(parseSubstitution('').parts, [])
})
