import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { PeerIdentity } from '../../../../model/identity.ts'
import { prepareRequestHeaders, createUuid } from '../../../../protocols/http/filters/forwarded.ts'
import { findHeaderValue } from '../../../../protocols/http/filters/header-edit.ts'
import { RequestHead } from '../../../../protocols/http/message.ts'
import { applyXfcc, formatXfccElement } from '../../../../protocols/http/filters/xfcc.ts'
import { seededRandom } from '../../../helpers/random.ts'
import { forwardTo, Harness, manager, route } from '../harness.ts'

const prepared = (
  headers: string[],
  http: Parameters<typeof manager>[1] = {},
  element?: string,
): { headers: string[]; remoteIp: string; request: RequestHead } => {
  const request = new RequestHead({
    method: 'GET',
    scheme: 'https',
    authority: 'a',
    path: '/',
    headers,
    version: 'HTTP/1.1',
    bodyLength: 0,
    upgrade: undefined,
    expectContinue: false,
  })
  const remoteIp = prepareRequestHeaders(
    request,
    manager([], http),
    { directIp: '10.9.9.9', scheme: 'https', xfccElement: element },
    seededRandom(1),
  )
  return { headers, remoteIp, request }
}

test('an edge listener appends the TCP peer and believes nobody about scheme and address', () => {
  const { headers, remoteIp } = prepared(['x-forwarded-for', '1.1.1.1', 'x-forwarded-proto', 'http'], {
    useRemoteAddress: true,
  })
  assert.deepEqual(headers, [
    'x-forwarded-for',
    '1.1.1.1,10.9.9.9',
    'x-forwarded-proto',
    'https',
    'x-envoy-external-address',
    '10.9.9.9',
  ])
  assert.equal(remoteIp, '10.9.9.9')
})
test('behind trusted hops the client is so many from the end', () => {
  assert.equal(
    prepared(['x-forwarded-for', '1.1.1.1, 2.2.2.2'], { useRemoteAddress: true, xffTrustedHops: 1 }).remoteIp,
    '2.2.2.2',
  )
  assert.equal(prepared(['x-forwarded-for', '1.1.1.1, 2.2.2.2'], { xffTrustedHops: 1 }).remoteIp, '1.1.1.1')
  assert.equal(prepared(['x-forwarded-for', 'nonsense']).remoteIp, '10.9.9.9')
  assert.equal(prepared(['x-forwarded-for', '1.1.1.1'], { xffTrustedHops: 5 }).remoteIp, '10.9.9.9')
})
test('a request id is kept, or made where there is none', () => {
  assert.equal(
    findHeaderValue(prepared(['x-request-id', 'mine'], { requestId: 'keep-or-make' }).headers, 'x-request-id'),
    'mine',
  )
  assert.match(
    findHeaderValue(prepared([], { requestId: 'keep-or-make' }).headers, 'x-request-id')!,
    /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  )
  const random = seededRandom(3)
  assert.equal(new Set(Array.from({ length: 1000 }, () => createUuid(random))).size, 1000)
})

test("an edge listener makes every request's id, unless it is to preserve what comes from outside", () => {
  const idOf = (http: Parameters<typeof manager>[1]): string =>
    findHeaderValue(prepared(['x-request-id', 'theirs'], http).headers, 'x-request-id')!
  assert.match(idOf({ requestId: 'keep-or-make', useRemoteAddress: true }), /^[0-9a-f]{8}-/)
  assert.match(idOf({ requestId: 'keep-or-make', useRemoteAddress: true, xffTrustedHops: 1 }), /^[0-9a-f]{8}-/)
  assert.equal(idOf({ requestId: 'keep-external', useRemoteAddress: true }), 'theirs')
  assert.equal(idOf({ requestId: 'none', useRemoteAddress: true }), 'theirs')
})

const CLAIMS = [
  'x-forwarded-host',
  'x-forwarded-port',
  'x-real-ip',
  'forwarded',
  'x-envoy-attempt-count',
  'x-envoy-decorator-operation',
]
for (const { name, http, kept } of [
  { name: 'at the edge', http: { useRemoteAddress: true }, kept: [] },
  {
    name: 'at the edge behind a trusted hop',
    http: { useRemoteAddress: true, xffTrustedHops: 1 },
    kept: ['x-forwarded-host', 'x-forwarded-port', 'x-real-ip', 'forwarded'],
  },
  { name: 'within the mesh', http: {}, kept: CLAIMS },
] as const) {
  test(`${name}, ${kept.length} of ${CLAIMS.length} claims of proxies are taken; what is private to an Envoy and look-alikes nowhere`, () => {
    const never = [
      'x-envoy-internal',
      'x-envoy-peer-metadata',
      'x-envoy-peer-metadata-id',
      'x-envoy-retry-on',
      'x-envoy-upstream-rq-timeout-ms',
      'x_forwarded_for',
      'x-forwarded_client-cert',
      'x.envoy.retry.on',
      'x_envoy_external_address',
      'x_request_id',
    ]
    const { headers } = prepared(
      [...CLAIMS, ...never, 'x-mine', 'x_mine', 'from'].flatMap((field) => [field, '1']),
      http,
    )
    const names = headers.filter((_, i) => i % 2 === 0)
    assert.deepEqual(
      names.filter((field) => CLAIMS.includes(field)),
      kept,
    )
    assert.deepEqual(
      names.filter((field) => never.includes(field)),
      [],
    )
    assert.deepEqual(
      names.filter((field) => /mine|^from$/.test(field)),
      ['x-mine', 'x_mine', 'from'],
    )
  })
}

const peer: PeerIdentity = {
  spiffeId: undefined,
  uriSans: ['spiffe://t/ns/n/sa/s'],
  dnsSans: ['a.example', 'b.example'],
  subject: 'CN=x,O="y"',
  sha256: 'ab'.repeat(32),
  notAfterMs: 0,
}
const details = { subject: true, uri: true, dns: true, cert: false, chain: false }

test("the element has Envoy's form", () => {
  assert.equal(
    formatXfccElement(details, peer, 'spiffe://t/ns/n/sa/me'),
    `By=spiffe://t/ns/n/sa/me;Hash=${'ab'.repeat(32)};Subject="CN=x,O=\\"y\\"";URI=spiffe://t/ns/n/sa/s;DNS=a.example;DNS=b.example`,
  )
})
test('a name in a certificate cannot imitate a field or a line', () => {
  const evil = {
    ...peer,
    uriSans: ['spiffe://t/a;URI=spiffe://t/admin,By=x'],
    dnsSans: [],
    subject: 'CN=\u010a\u010dX: y\r\n',
  }
  const element = formatXfccElement(details, evil, undefined)
  assert.ok(element.endsWith(';URI="spiffe://t/a;URI=spiffe://t/admin,By=x"'))
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  assert.doesNotMatch(element, /[\r\n]|[^\x00-\xff]/)
})
test('each mode, with and without a client certificate', () => {
  const result = (mode: Parameters<typeof applyXfcc>[1], element: string | undefined): string | undefined => {
    const headers = ['x-forwarded-client-cert', 'claimed', 'a', 'b']
    applyXfcc(headers, mode, element)
    return findHeaderValue(headers, 'x-forwarded-client-cert')
  }
  const modes = ['sanitize', 'forward-only', 'append-forward', 'sanitize-set', 'always-forward-only'] as const
  assert.deepEqual(
    modes.map((m) => result(m, 'E')),
    [undefined, 'claimed', 'claimed,E', 'E', 'claimed'],
  )
  assert.deepEqual(
    modes.map((m) => result(m, undefined)),
    [undefined, undefined, undefined, undefined, 'claimed'],
  )
})
test('several lines become one when an element is appended', () => {
  const headers = ['x-forwarded-client-cert', 'A', 'x', 'y', 'x-forwarded-client-cert', 'B']
  applyXfcc(headers, 'append-forward', 'E')
  assert.deepEqual(headers, ['x-forwarded-client-cert', 'A,B,E', 'x', 'y'])
})

test('a host that is rewritten reaches the endpoint, and the one that was asked for in x-forwarded-host where the route says so', async () => {
  for (const appendForwardedHost of [true, false]) {
    await using h = new Harness()
    const origin = await h.origin()
    const client = h.connect(
      manager([
        route(
          forwardTo({
            appendForwardedHost,
            rewrite: { path: undefined, host: { kind: 'literal', value: 'other.example' } },
          }),
        ),
      ]),
    )
    await client.send('GET / HTTP/1.1\r\nhost: asked.example\r\n\r\n')
    const head = await origin.last.take()
    assert.match(head, /^host: other\.example\r$/m)
    assert.equal(/^x-forwarded-host: asked\.example\r$/m.test(head), appendForwardedHost)
  }
})

test('who a client says it is, is kept aside; what a stranger says is not', () => {
  const said = ['x-envoy-peer-metadata-id', 'id', 'x-envoy-peer-metadata', 'Zm9v']
  for (const [http, known] of [
    [{}, ['id', 'Zm9v']],
    [{ useRemoteAddress: true, xffTrustedHops: 1 }, ['id', 'Zm9v']],
    [{ useRemoteAddress: true }, [undefined, undefined]],
  ] as const) {
    const { peerId, peerMetadata } = prepared([...said], http).request
    assert.deepEqual([peerId, peerMetadata], known)
  }
})
