/** ext_authz over gRPC: the attributes of CheckRequest by their numbers (attribute_context.proto), and what answers do. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire'
import type { Connection } from '../../../../../protocols/connection.ts'
import { makeConnectionQuestion, readGrpcAnswer } from '../../../../../protocols/http/filters/ext-authz/grpc-service.ts'
import { AuthRig } from './rig.ts'

type Fields = Map<number, (Uint8Array | number)[]>
/** With the protobuf library's own reader. */
function read(bytes: Uint8Array): Fields {
  const fields: Fields = new Map()
  const reader = new BinaryReader(bytes)
  while (reader.pos < reader.len) {
    const [no, type] = reader.tag()
    const value = type === 0 ? Number(reader.uint64()) : type === 1 ? reader.double() : reader.bytes()
    fields.set(no, [...(fields.get(no) ?? []), value])
  }
  return fields
}
function at(bytes: Uint8Array, ...path: number[]): Uint8Array | number | undefined {
  let found: Uint8Array | number | undefined = bytes
  for (const no of path) found = typeof found === 'object' ? read(found).get(no)?.at(-1) : undefined
  return found
}
const textAt = (bytes: Uint8Array, ...path: number[]): string | undefined => {
  const found = at(bytes, ...path)
  return typeof found === 'object' ? Buffer.from(found).toString('utf8') : undefined
}
const message = (...fields: readonly (readonly [no: number, value: Uint8Array | string | number])[]): Buffer => {
  const writer = new BinaryWriter()
  for (const [no, value] of fields) {
    if (typeof value === 'number') writer.tag(no, 0).uint32(value)
    else if (typeof value === 'string') writer.tag(no, 2).string(value)
    else writer.tag(no, 2).bytes(value)
  }
  return Buffer.from(writer.finish())
}
const header = (key: string, value: string, ...more: readonly (readonly [number, Uint8Array | number])[]): Buffer =>
  message([1, message([1, key], [2, value])], ...more)
const APPEND = [2, message([1, 1])] as const

test('the service gets the request as attributes', async (t) => {
  const { both, asked } = await AuthRig.overGrpc(t, () => message([1, message()]), {
    settings: { body: { maxBytes: 100, partial: false, asBytes: false } },
    route: { filters: new Map([['authz', { off: false, extAuthz: { context: { tier: 'gold' }, body: undefined } }]]) },
  })
  const { status, saw } = await both.ask('http2', {
    method: 'POST',
    path: '/gr%C3%BCn?x=1',
    body: 'hello',
    fields: [
      ['x-a', '1'],
      ['x-a', '2'],
      ['x-request-id', 'id-7'],
    ],
  })
  assert.deepEqual([status, saw?.body], [200, 'hello'])
  const [question] = asked
  assert.equal(question!.path, '/envoy.service.auth.v3.Authorization/Check')
  assert.equal(question!.headers['content-type'], 'application/grpc')
  const request = question!.body.subarray(5)
  assert.equal(question!.body.readUInt32BE(1), request.length)
  assert.deepEqual(
    [
      [1, 1, 1, 1, 2],
      [1, 2, 1, 1, 2],
      [1, 4, 2, 1],
      [1, 4, 2, 2],
      [1, 4, 2, 4],
      [1, 4, 2, 5],
      [1, 4, 2, 6],
      [1, 4, 2, 10],
      [1, 4, 2, 11],
    ].map((path) => textAt(request, ...path)),
    ['127.0.0.1', '127.0.0.1', 'id-7', 'POST', '/gr%C3%BCn?x=1', 'a', 'http', 'HTTP/2', 'hello'],
  )
  const pairs = (read(at(request, 1, 4, 2) as Uint8Array).get(3) ?? []).map((entry) => [
    textAt(entry as Uint8Array, 1),
    textAt(entry as Uint8Array, 2),
  ])
  const headers = Object.fromEntries(pairs) as Record<string, string>
  assert.deepEqual(
    [headers[':path'], headers['x-a'], headers['x-envoy-auth-partial-body']],
    ['/gr%C3%BCn?x=1', '1,2', 'false'],
  )
  assert.deepEqual([textAt(request, 1, 10, 1), textAt(request, 1, 10, 2)], ['tier', 'gold'])
})

test('an OkHttpResponse changes request, query and answer', async (t) => {
  const ok = message(
    [2, header('X-User', 'ann')],
    [2, header('x-more', 'b', APPEND)],
    [2, header('x-new', 'never', APPEND)],
    [5, 'x-gone'],
    [5, 'host'],
    [6, header('x-told', '50%')],
    [7, message([1, 'q'], [2, 'a b'])],
    [8, 'token'],
  )
  const { both } = await AuthRig.overGrpc(t, () => message([3, ok]))
  const { headers, saw } = await both.ask('http1', {
    path: '/?token=t&q=0&r',
    fields: [
      ['x-user', 'forged'],
      ['x-more', 'a'],
      ['x-gone', '1'],
    ],
  })
  assert.deepEqual(
    ['x-user', 'x-more', 'x-new', 'x-gone', 'host'].map((name) => saw!.headers[name]),
    ['ann', 'a,b', undefined, undefined, 'a'],
  )
  assert.deepEqual([saw!.url, headers['x-told']], ['/?r&q=a%20b', '50%'])
})

test('a DeniedHttpResponse is what the client gets; over gRPC as its status', async (t) => {
  const denied = message([1, message([1, 429])], [2, header('x-why', 'busy')], [3, 'später'])
  const { both } = await AuthRig.overGrpc(t, () => message([1, message([1, 7])], [2, denied]))
  const { status, headers, body, saw } = await both.ask('http1', {})
  assert.deepEqual(
    [status, headers['x-why'], Buffer.from(body, 'latin1').toString(), saw],
    [429, 'busy', 'später', undefined],
  )
  const grpc = await both.ask('http2', { method: 'POST', body: '', fields: [['content-type', 'application/grpc']] })
  assert.deepEqual([grpc.status, grpc.headers['grpc-status'], grpc.headers['grpc-message']], [200, '14', 'sp%C3%A4ter'])
})

test('a refusal may set several cookies', async (t) => {
  const cookies = ['a=1', 'b=2'].map((value) => [2, header('set-cookie', value)] as const)
  const { both } = await AuthRig.overGrpc(t, () => message([1, message([1, 7])], [2, message(...cookies)]))
  const { headers } = await both.ask('http2', {})
  assert.equal(String(headers['set-cookie']), 'a=1,b=2')
})

for (const { name, change, validates = false, want } of [
  { name: 'a path', change: header(':path', '/a/../b?q'), want: [200, '/b?q', 'a'] },
  { name: 'a host', change: header(':authority', 'b'), want: [200, '/', 'b'] },
  { name: 'a host by its field', change: header('host', 'b'), want: [200, '/', 'b'] },
  { name: 'no path', change: header(':path', 'x'), want: [503] },
  { name: 'a path of two lines', change: header(':path', '/\r\nx: y'), want: [503] },
  { name: 'a path that the listener refuses', change: header(':path', '/%00'), want: [503] },
  { name: 'no host', change: header('host', 'a b'), want: [503] },
  { name: 'a method', change: header(':method', 'PUT'), want: [503] },
  { name: 'a value of two lines', change: header('x', 'a\r\nb: c'), want: [503] },
  { name: 'the same, where changes are looked at', change: header('x', 'a\0'), validates: true, want: [500] },
])
  test(`a service agrees to another request: ${name}`, async (t) => {
    const { both } = await AuthRig.overGrpc(t, () => message([3, message([2, change])]), {
      // Somebody was there, and said something.
      settings: { failureAllows: true, validates },
      http: { normalizePath: true },
    })
    const { status, saw } = await both.ask('http1', {})
    assert.deepEqual(saw ? [status, saw.url, saw.headers.host] : [status], want)
  })

const framed = (bytes: Buffer): Buffer => {
  const frame = Buffer.alloc(5)
  frame.writeUInt32BE(bytes.length, 1)
  return Buffer.concat([frame, bytes])
}
for (const { name, bytes, status, want } of [
  { name: 'no status of gRPC', bytes: framed(message()), status: undefined, want: 'error' },
  { name: 'a status of gRPC', bytes: framed(message()), status: '14', want: 'error' },
  { name: 'no message', bytes: Buffer.alloc(0), status: '0', want: 'error' },
  { name: 'a compressed message', bytes: Buffer.from([1, 0, 0, 0, 0]), status: '0', want: 'error' },
  { name: 'two messages', bytes: Buffer.concat([framed(message()), framed(message())]), status: '0', want: 'error' },
  { name: 'bytes that are no message', bytes: framed(Buffer.from([0xff, 0xff])), status: '0', want: 'error' },
  { name: 'an empty CheckResponse', bytes: framed(message()), status: '0', want: 'ok' },
  { name: 'a code without words', bytes: framed(message([1, message([1, 7])])), status: '0', want: 'denied' },
] as const)
  test(`an answer of the service: ${name}`, () => assert.equal(readGrpcAnswer(bytes, status).kind, want))

test('whatever bytes a service sends, nothing is thrown, and a cut answer is never a yes', () => {
  const whole = message([1, message([1, 7])], [2, message([1, message([1, 401])], [2, header('a', 'b')], [3, 'no'])])
  for (let length = 0; length < whole.length; length++)
    for (const bytes of [framed(whole).subarray(0, 5 + length), framed(whole.subarray(0, length))]) {
      const { kind } = readGrpcAnswer(bytes, '0')
      assert.ok(length === 0 || kind !== 'ok', `${length}: ${kind}`)
    }
})
test('dynamic metadata of every kind', () => {
  const value = (no: number, of: Uint8Array | string | number): Buffer => message([no, of])
  const entry = (key: string, of: Buffer): Buffer => message([1, key], [2, of])
  const number = Buffer.from(new BinaryWriter().tag(2, 1).double(1.5).finish())
  const struct = message(
    [1, entry('s', value(3, 'x'))],
    [1, entry('n', number)],
    [1, entry('b', value(4, 1))],
    [1, entry('l', value(6, message([1, value(3, 'y')])))],
    [1, entry('o', value(5, message([1, entry('i', value(3, 'z'))])))],
  )
  const verdict = readGrpcAnswer(framed(message([4, struct])), '0')
  assert.ok(verdict.kind === 'ok')
  assert.deepEqual(JSON.parse(JSON.stringify(verdict.metadata)), { s: 'x', n: 1.5, b: true, l: ['y'], o: { i: 'z' } })
})

test("include_peer_certificate: the client's certificate goes as PEM, written as in a URL", () => {
  const settings = {
    statPrefix: 's',
    service: { kind: 'grpc', cluster: 'c', authority: 'a', timeoutMs: 1, headers: [] },
    failureAllows: false,
    enabledBy: undefined,
    sendsServerName: true,
    sendsCertificate: true,
  } as const
  const conn = {
    remote: { host: '10.0.0.1', port: 1 },
    local: { host: '10.0.0.2', port: 2 },
    tls: undefined,
    offered: { transport: 'tls', serverName: 'a.test', alpn: [] },
  } as unknown as Connection
  const { bytes } = makeConnectionQuestion(settings, conn, { own: 'spiffe://own', certificate: '-----BEGIN\n' })
  const question = bytes.subarray(5)
  assert.equal(textAt(question, 1, 1, 5), '-----BEGIN%0A')
  assert.deepEqual([textAt(question, 1, 2, 4), textAt(question, 1, 12, 1)], ['spiffe://own', 'a.test'])
})
