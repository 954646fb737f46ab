/** The API over real TLS sockets, as hostile peers use it. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createPrivateKey, generateKeyPairSync, X509Certificate, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import tls from 'node:tls'
import { encodeJson, signEs256, toEs256Jwk } from '../../../../core/jwt/sign.ts'
import { CHANNEL_BINDING, JOIN_PATH, PROOF_TYPE, RENEW_PATH } from '../../../../model/fleet/enrollment.ts'
import { API } from '../../../scenarios/fleet/device.ts'
import { makeCsr } from '../../ca/make-csr.ts'
import { testHub, type TestHub } from '../../start-hub.ts'

type Finally = { after(fn: () => void): void }
type Said = { readonly status: number; readonly head: string; readonly body: Record<string, unknown> }
const edge = (nodes: string) => ({ namespace: 'edge', serviceAccount: 'gateway', nodes })
const newKey = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey

async function connect(t: Finally, { hub }: TestHub, o: tls.ConnectionOptions = {}): Promise<tls.TLSSocket> {
  const socket = tls.connect({ host: '127.0.0.1', port: hub.apiPort!, ca: hub.rootsPem, ...o })
  t.after(() => socket.destroy())
  await once(socket, 'secureConnect')
  return socket
}
const bindingOf = (socket: tls.TLSSocket): string =>
  socket.exportKeyingMaterial(CHANNEL_BINDING.bytes, CHANNEL_BINDING.label, Buffer.alloc(0)).toString('base64url')

function sign(key: KeyObject, payload: object, header: object = {}): string {
  const input = `${encodeJson({ typ: PROOF_TYPE, alg: 'ES256', jwk: toEs256Jwk(key), ...header })}.${encodeJson(payload)}`
  return `${input}.${signEs256(Buffer.from(input), key).toString('base64url')}`
}
async function send(socket: tls.TLSSocket, request: string): Promise<Said> {
  socket.write(request)
  let text = ''
  for await (const part of socket as AsyncIterable<Buffer>) {
    text += part.toString()
    const [head, body] = text.split('\r\n\r\n') as [string, string?]
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? Number.NaN)
    if (body !== undefined && body.length >= length)
      return { status: Number(head.split(' ')[1]), head, body: JSON.parse(body) as Record<string, unknown> }
  }
  return { status: 0, head: text, body: {} }
}
const post = (socket: tls.TLSSocket, path: string, body: string, type = 'application/jose'): Promise<Said> =>
  send(
    socket,
    `POST ${path} HTTP/1.1\r\nhost: hub\r\ncontent-type: ${type}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )

async function attack(
  t: Finally,
  h: TestHub,
  p: { path?: string; make(cb: string): string; type?: string },
): Promise<Said> {
  const socket = await connect(t, h)
  return post(socket, p.path ?? JOIN_PATH, p.make(bindingOf(socket)), p.type)
}

test('proofs that are forged, of another connection, another request, another algorithm or another kind are refused', async (t) => {
  const h = await testHub(t, API)
  const [key, other] = [newKey(), newKey()]
  const { token } = await h.hub.createToken(edge('gw-1'))
  const claims = (cb: string) => ({ cb, htu: JOIN_PATH, token, nonce: 'n'.repeat(22), csr: makeCsr().csrPem })
  const stranger = await connect(t, h)
  const elsewhere = bindingOf(stranger)
  const changed = (jws: string, at: number, by: string): string =>
    jws
      .split('.')
      .map((part, i) => (i === at ? by : part))
      .join('.')
  const cases: readonly [string, (cb: string) => string, RegExp][] = [
    ['another connection', () => sign(key, claims(elsewhere)), /made for another connection/],
    ['no binding', () => sign(key, { ...claims(''), cb: undefined }), /made for another connection/],
    ['another request', (cb) => sign(key, { ...claims(cb), htu: RENEW_PATH }), /made for another request/],
    [
      "somebody else's key in the header",
      (cb) => sign(key, claims(cb), { jwk: toEs256Jwk(other) }),
      /not signed by the key/,
    ],
    [
      'changed after signing',
      (cb) => changed(sign(key, claims(cb)), 1, encodeJson({ ...claims(cb), name: 'x' })),
      /not signed/,
    ],
    ['no signature', (cb) => changed(sign(key, claims(cb)), 2, ''), /not signed/],
    ['alg none', (cb) => sign(key, claims(cb), { alg: 'none' }), /is not of type/],
    ['a join token instead', () => token, /is not of type/],
    ['another kind of JWT', (cb) => sign(key, claims(cb), { typ: 'JWT' }), /is not of type/],
    [
      'a point off the curve',
      (cb) => sign(key, claims(cb), { jwk: { ...toEs256Jwk(key), x: 'AAAA' } }),
      /cannot be read|not signed/,
    ],
    ['a private key shown', (cb) => sign(key, claims(cb), { jwk: { kty: 'RSA' } }), /shows no P-256 key/],
    ['no JSON', () => 'e30.!!!.AAAA', /is not of type|no JSON/],
    ['an array', (cb) => changed(sign(key, claims(cb)), 0, encodeJson([1])), /no JSON object/],
    ['text', () => 'hello', /no compact JWS/],
  ]
  for (const [what, make, why] of cases) {
    const said = await attack(t, h, { make })
    assert.deepEqual([said.status, said.body['code']], [401, 'MESH_DEVICE_PROOF'], what)
    assert.match(String(said.body['message']), why, what)
    assert.equal(JSON.stringify(said.body).includes(token), false)
  }
  assert.deepEqual(await h.hub.registry.enrollments.all(), [])
  assert.equal((await h.hub.registry.tokens())[0]?.uses, 0)
})

test('a renewal that was recorded is good for nothing on another connection', async (t) => {
  const h = await testHub(t, API)
  const key = newKey()
  const { token } = await h.hub.createToken(edge('gw-1'))
  const joined = await attack(t, h, {
    make: (cb) =>
      sign(key, {
        cb,
        htu: JOIN_PATH,
        token,
        nonce: '0'.repeat(22),
        csr: makeCsr().csrPem,
      }),
  })
  assert.equal(joined.status, 200)
  const { counter, chain } = joined.body['renewed'] as { counter: number; chain: string }
  let recorded = ''
  const make = (cb: string): string =>
    (recorded = sign(key, { cb, htu: RENEW_PATH, counter, chain, nonce: '1'.repeat(22), csr: makeCsr().csrPem }))
  assert.equal((await attack(t, h, { path: RENEW_PATH, make })).body['counter'], 2)
  assert.equal((await attack(t, h, { path: RENEW_PATH, make: () => recorded })).body['code'], 'MESH_DEVICE_PROOF')
  assert.equal((await h.hub.registry.enrollments.byName('gw-1'))?.clonedMs, null, 'nobody is taken for a copy by it')
})

test('tokens of another audience, hub or key open nothing, and neither do claims of odd forms', async (t) => {
  const [h, other] = [await testHub(t, API), await testHub(t, API)]
  const key = newKey()
  const { token } = await h.hub.createToken(edge('gw-1'))
  const secret = createPrivateKey(newKey().export({ type: 'pkcs8', format: 'pem' }))
  const part = (at: number): object => JSON.parse(Buffer.from(token.split('.')[at]!, 'base64url').toString()) as object
  const signed = (payload: object): string => {
    const input = `${encodeJson(part(0))}.${encodeJson(payload)}`
    return `${input}.${signEs256(Buffer.from(input), secret).toString('base64url')}`
  }
  const valid = { token, nonce: 'n'.repeat(22), csr: makeCsr().csrPem, htu: JOIN_PATH }
  const cases: readonly [object, number, string][] = [
    [{ ...valid, token: signed({ ...part(1), aud: ['istio-ca'] }) }, 401, 'MESH_TOKEN_INVALID'],
    [{ ...valid, token: signed(part(1)) }, 401, 'MESH_TOKEN_INVALID'],
    [{ ...valid, token: (await other.hub.createToken(edge('gw-1'))).token }, 401, 'MESH_TOKEN_INVALID'],
    [{ ...valid, token: { a: 1 } }, 400, 'MESH_MALFORMED_INPUT'],
    [{ ...valid, nonce: 'short' }, 400, 'MESH_MALFORMED_INPUT'],
    [{ ...valid, csr: 'x'.repeat(20_000) }, 400, 'MESH_MALFORMED_INPUT'],
    [{ ...valid, csr: 'no request' }, 400, 'MESH_MALFORMED_INPUT'],
    [{ ...valid, ttlSec: 1e9 }, 400, 'MESH_MALFORMED_INPUT'],
    [{ ...valid, name: 'x'.repeat(300) }, 400, 'MESH_MALFORMED_INPUT'],
    [{ ...valid, name: `gw'; DROP TABLE enrollments; --` }, 403, 'MESH_CONTROL_FORBIDDEN'],
    [{ ...valid, name: '../../etc/passwd' }, 403, 'MESH_CONTROL_FORBIDDEN'],
    [{ ...valid, ['__proto__']: { token: 1 }, constructor: 1 }, 200, ''],
  ]
  for (const [claims, status, code] of cases) {
    const said = await attack(t, h, { make: (cb) => sign(key, { ...claims, cb }) })
    assert.deepEqual([said.status, said.body['code'] ?? ''], [status, code], JSON.stringify(claims).slice(0, 80))
  }
  assert.equal((await h.hub.registry.tokens()).find((row) => row.nodes === 'gw-1')?.uses, 1)
})

test('a device of one key has nothing of another: its renewal is its own, and its certificate says who it is', async (t) => {
  const h = await testHub(t, API)
  const [mine, theirs] = [newKey(), newKey()]
  const join = async (key: KeyObject, nodes: string, namespace: string): Promise<Said> => {
    const { token } = await h.hub.createToken({ namespace, serviceAccount: 'gateway', nodes })
    return await attack(t, h, {
      make: (cb) =>
        sign(key, {
          cb,
          htu: JOIN_PATH,
          token,
          nonce: 'n'.repeat(22),
          // Names of the request are nobody's word.
          csr: makeCsr({ uri: 'spiffe://demo.mesh/ns/tenant-b/sa/gateway' }).csrPem,
        }),
    })
  }
  const a = await join(mine, 'gw-a', 'tenant-a')
  const b = (await join(theirs, 'gw-b', 'tenant-b')).body['renewed'] as { counter: number; chain: string }
  const [leaf] = (a.body['renewed'] as { certChain: string[] }).certChain
  assert.equal(new X509Certificate(leaf!).subjectAltName, 'URI:spiffe://demo.mesh/ns/tenant-a/sa/gateway')
  const stolen = await attack(t, h, {
    path: RENEW_PATH,
    make: (cb) => sign(mine, { cb, htu: RENEW_PATH, ...b, nonce: 'n'.repeat(22), csr: makeCsr().csrPem }),
  })
  assert.equal(stolen.body['code'], 'MESH_DEVICE_CLONED', 'the chain of another device is not that of this key')
  const unknown = await attack(t, h, {
    path: RENEW_PATH,
    make: (cb) => sign(newKey(), { cb, htu: RENEW_PATH, ...b, nonce: 'n'.repeat(22), csr: makeCsr().csrPem }),
  })
  assert.deepEqual([unknown.status, unknown.body['code']], [404, 'MESH_DEVICE_UNKNOWN'])
})

test('paths, methods, kinds and sizes that are none', async (t) => {
  const h = await testHub(t, API)
  const get = async (path: string, method = 'GET'): Promise<Said> =>
    send(await connect(t, h), `${method} ${path} HTTP/1.1\r\nhost: hub\r\n\r\n`)
  for (const path of ['/', '/v1', '/v1/../../etc/passwd', '/v1/devices/join', '/%2e%2e/', `/${'x'.repeat(300)}`]) {
    const said = await get(path)
    assert.deepEqual([said.status, said.body['code']], [404, 'MESH_API_NOT_FOUND'], path)
    assert.match(said.head, /cache-control: no-store/)
  }
  assert.equal((await get(JOIN_PATH, 'DELETE')).status, 404)
  const large = await attack(t, h, { make: () => 'x'.repeat(70_000) })
  assert.deepEqual([large.status, large.body['code']], [413, 'MESH_API_TOO_LARGE'])
  const json = await attack(t, h, { make: () => '{}', type: 'application/json' })
  assert.deepEqual([json.status, json.body['code']], [400, 'MESH_MALFORMED_INPUT'])
  const document = (await get('/v1/openapi.json')).body as { paths: Record<string, unknown> }
  assert.deepEqual(Object.keys(document.paths).sort(), ['/v1/devices/join', '/v1/devices/renew', '/v1/openapi.json'])
  await assert.rejects(connect(t, h, { maxVersion: 'TLSv1.2' }), /protocol version/i)
})

test('slow peers are closed: in the handshake, in a head, in a body', async (t) => {
  const h = await testHub(t, API.replace('"127.0.0.1:0"', '"127.0.0.1:0", requestMs: 300'))
  for (const part of [
    '',
    'POST /v1/devices/join HTTP/1.1\r\nhost',
    `POST ${JOIN_PATH} HTTP/1.1\r\nhost: hub\r\ncontent-type: application/jose\r\ncontent-length: 9\r\n\r\nabc`,
  ]) {
    const socket = await connect(t, h)
    socket.write(part)
    socket.resume()
    await once(socket, 'close')
  }
  const silent = net.connect(h.hub.apiPort!, '127.0.0.1')
  t.after(() => silent.destroy())
  silent.on('error', () => {})
  silent.resume()
  await once(silent, 'close')
})

test('one address asks so often and no oftener', async (t) => {
  const h = await testHub(t, API.replace('"127.0.0.1:0"', '"127.0.0.1:0", requestsPerMinute: 3'))
  const ask = async (): Promise<Said> => send(await connect(t, h), 'GET /v1/none HTTP/1.1\r\nhost: hub\r\n\r\n')
  const said = [await ask(), await ask(), await ask(), await ask()]
  assert.deepEqual(
    said.map((s) => s.status),
    [404, 404, 404, 429],
  )
  assert.equal(said[3]?.body['code'], 'MESH_CONTROL_SLOW_DOWN')
})

test('one address has so many connections at once and no more, whatever it does with them; the ports are counted apart', async (t) => {
  const h = await testHub(t, `${API}relay: {listen: "127.0.0.1:0"}\nlimits: {maxStrangersPerAddress: 3}\n`)
  const silent = await Promise.all(Array.from({ length: 3 }, () => connect(t, h)))
  assert.match(h.metrics.text(), /^mesh_hub_connections\{port="api"\} 3$/m)
  await assert.rejects(connect(t, h), /ECONNRESET|disconnected/)
  assert.equal(h.metrics.total('mesh_hub_connections_refused_total', { why: 'address' }), 1)
  for (const socket of silent) socket.destroy()
  while (h.metrics.total('mesh_hub_connections') > 0) await new Promise((resolve) => setTimeout(resolve, 5))
  const said = await send(await connect(t, h), 'GET /v1/openapi.json HTTP/1.1\r\nhost: hub\r\n\r\n')
  assert.equal(said.status, 200)
  assert.match(said.head, /connection: close/i)
})
