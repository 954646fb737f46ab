/** Tokens of an issuer whose keys come through a cluster, on real sockets: who waits, who is let in, and who is not. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import type http from 'node:http'
import net from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { JwtRequirement, RemoteJwks } from '../../../../../model/http/jwt.ts'
import { serveHttp } from '../../../../helpers/serve-http.ts'
import { createKey, createToken } from '../../../../helpers/jwt.ts'
import { freePorts } from '../../../../../tools/free-ports.ts'
import { Both, type Codec } from '../../both.ts'
import { cluster, endpoint, manager, route } from '../../harness.ts'
import { createJwtProvider } from '../../jwt-provider.ts'

const KEY = createKey('ES256', 'a')
const DOCUMENT = JSON.stringify({ keys: [KEY.jwk] })
const REMOTE: RemoteJwks = {
  cluster: 'id',
  scheme: 'http',
  authority: 'id.test',
  path: '/keys?v=1',
  timeoutMs: 5_000,
  refreshMs: 600_000,
  failedRefetchMs: 1_000,
  retries: 0,
  backoff: { baseMs: 1_000, capMs: 1_000 },
}
const PROVIDER = createJwtProvider(REMOTE, { claimHeaders: [{ name: 'x-sub', claim: ['sub'] }] })
const NEEDED: JwtRequirement = { kind: 'provider', provider: PROVIDER }
const CODECS: readonly Codec[] = ['http1', 'http2']

async function start(
  t: TestContext,
  answer: http.RequestListener | undefined,
  isNeeded = true,
): Promise<{ readonly both: Both; readonly asked: string[] }> {
  const asked: string[] = []
  const port = answer
    ? await serveHttp(t, (request, response) => {
        asked.push(`${request.method} ${request.headers.host}${request.url}`)
        answer(request, response)
      })
    : (await freePorts(1))[0]!
  const jwt = {
    providers: [PROVIDER],
    rules: [{ match: route().match, requires: isNeeded ? NEEDED : undefined }],
    named: new Map(),
    bypassesPreflight: false,
    hidesReason: false,
  }
  const http = manager([route()], { filters: [{ kind: 'jwt', name: 'jwt', jwt }] })
  const id = cluster([endpoint('127.0.0.1', port)], { name: 'id' })
  return { both: await Both.start(t, http, { clusters: [id] }), asked }
}
const bearer = (token: string): [string, string][] => [['authorization', `Bearer ${token}`]]
const GOOD = createToken(KEY, { iss: 'i', sub: 'ann', exp: 4e9 })

for (const codec of CODECS) {
  test(`the first request waits for the keys; the next ones do not ask again, ${codec}`, async (t) => {
    const held = Promise.withResolvers<void>()
    const { both, asked } = await start(t, (_request, response) => {
      void held.promise.then(() => response.end(DOCUMENT))
    })
    const first = both.ask(codec, { fields: bearer(GOOD), method: 'POST', body: 'whole' })
    const unneeded = await both.ask(codec, {})
    assert.equal(unneeded.status, 401, 'who has no token need not wait')
    held.resolve()
    const { status, saw } = await first
    assert.deepEqual([status, saw?.headers['x-sub'], saw?.body], [200, 'ann', 'whole'])
    assert.equal((await both.ask(codec, { fields: bearer(GOOD) })).status, 200)
    const foreign = createToken(createKey('ES256', 'b'), { iss: 'i', exp: 4e9 })
    assert.equal((await both.ask(codec, { fields: bearer(foreign) })).status, 401)
    assert.deepEqual(asked, ['GET id.test/keys?v=1'])
  })

  for (const [name, answer] of [
    ['is not there', undefined],
    ['answers with 500', (_request, response) => response.writeHead(500).end(DOCUMENT)],
    ['answers with no keys', (_request, response) => response.end('{}')],
    ['sends more than anybody has', (_request, response) => response.end(' '.repeat(300_000) + DOCUMENT)],
    ['leaves in the middle', (_request, response) => void response.writeHead(200).write('{', () => response.destroy())],
  ] as const satisfies readonly (readonly [string, http.RequestListener | undefined])[])
    test(`an issuer that ${name}: tokens are refused, ${codec}`, async (t) => {
      const { both } = await start(t, answer)
      const told = await both.ask(codec, { fields: bearer(GOOD) })
      assert.deepEqual([told.status, told.saw], [401, undefined])
      assert.match(told.headers['www-authenticate'] ?? '', /error="invalid_token"/)
      const without = await both.ask(codec, {})
      assert.deepEqual([without.status, without.saw], [401, undefined])
    })
}

test('a path that needs no token waits for no keys', async (t) => {
  const { both } = await start(t, () => undefined, false)
  const { status, saw } = await both.ask('http1', { fields: bearer(GOOD) })
  assert.deepEqual([status, saw?.headers['x-sub']], [200, undefined])
})

test('a client that leaves while its keys are looked for is forgotten', async (t) => {
  const held = Promise.withResolvers<void>()
  const { both } = await start(t, (_request, response) => {
    void held.promise.then(() => response.end(DOCUMENT))
  })
  const socket = net.connect(both.ports.http1, '127.0.0.1')
  socket.write(`GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${GOOD}\r\n\r\n`)
  while (both.connections.length === 0) await delay(1)
  const { stream } = both.connections[0]!
  while (both.connections[0]!.receivedBytes === 0 && !stream.readableDidRead) await delay(1)
  socket.destroy()
  while (!stream.destroyed) await delay(1)
  held.resolve()
  assert.equal((await both.ask('http1', { fields: bearer(GOOD) })).status, 200)
  assert.equal(both.seen.length, 1)
})
