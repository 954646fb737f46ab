/**
 * What the configuration says of a header holds for trailers, too: whoever may not write a field at the beginning of a
 * request may not write it at its end. Over both codecs, whenever the plan is made.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type http from 'node:http'
import net from 'node:net'
import { readJwks } from '../../../core/jwt/jwks.ts'
import type { HttpFilter } from '../../../model/listener.ts'
import { createKey, createToken } from '../../helpers/jwt.ts'
import { frame, headers, RawH2 } from '../../helpers/raw-h2.ts'
import { serveHttp } from '../../helpers/serve-http.ts'
import { Both, type Codec } from './both.ts'
import { AuthRig } from './filters/ext-authz/rig.ts'
import { forwardTo, manager, route } from './harness.ts'
import { createJwtProvider } from './jwt-provider.ts'

const KEY = createKey('ES256', 'a')
const PROVIDER = createJwtProvider(readJwks({ keys: [KEY.jwk] }), {
  claimHeaders: [{ name: 'x-sub', claim: ['sub'] }],
  payloadHeader: { name: 'x-payload', padded: false },
})
const JWT: HttpFilter = {
  kind: 'jwt',
  name: 'jwt',
  jwt: {
    providers: [PROVIDER],
    rules: [
      {
        match: route().match,
        requires: { kind: 'provider', provider: PROVIDER },
      },
    ],
    named: new Map(),
    bypassesPreflight: false,
    hidesReason: false,
  },
}
const LATE: HttpFilter = {
  kind: 'fault',
  name: 'f',
  fault: { delay: { ms: 30, fraction: 1 }, abort: undefined, headers: [] },
}
const FORGED = ['x-sub', 'x_sub', 'x.payload', 'x-payload', 'x-gone', 'x_gone', 'x-set', 'x-internal', 'x-free']
const TOKEN = createToken(KEY, { iss: 'i', sub: 'alice', exp: Math.floor(Date.now() / 1000) + 600 })

/** One POST of one byte with all of these as trailers. */
async function post(port: number, codec: Codec): Promise<void> {
  if (codec === 'http1') {
    const socket = net.connect(port, '127.0.0.1')
    const lines = FORGED.map((name) => `${name}: root\r\n`).join('')
    socket.write(
      `POST / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${TOKEN}\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n${lines}\r\n`,
    )
    await once(socket, 'data')
    socket.destroy()
    return
  }
  const raw = new RawH2(port)
  const head = {
    ':method': 'POST',
    ':scheme': 'http',
    ':authority': 'a',
    ':path': '/',
    authorization: `Bearer ${TOKEN}`,
  }
  raw.socket.write(
    Buffer.concat([
      headers(1, Object.entries(head), false),
      frame(0, 0, 1, Buffer.from('a')),
      headers(
        1,
        FORGED.map((name) => [name, 'root'] as const),
        true,
      ),
    ]),
  )
  await raw.until((f) => f.stream === 1 && (f.flags & 1) === 1)
  raw.close()
}

/** `waits`: the whole request is there before the plan is. */
for (const codec of ['http1', 'http2'] as const)
  for (const waits of [false, true])
    test(`trailers over ${codec}, ${waits ? 'before' : 'after'} the request is planned`, async (t) => {
      let trailers: NodeJS.Dict<string> = {}
      const answer: http.RequestListener = (request, response) => {
        trailers = request.trailers
        response.end()
      }
      const changes = {
        request: {
          remove: ['x-gone'],
          add: [
            { name: 'x-set', value: 'ours', how: 'overwrite' as const, keepEmpty: false },
            { name: 'x-free', value: 'ours', how: 'append' as const, keepEmpty: false },
          ],
        },
        response: { remove: [], add: [] },
      }
      const filters: HttpFilter[] = [JWT, ...(waits ? [LATE] : [])]
      const plain = manager([route(forwardTo(), { headers: changes })], { filters })
      assert.ok(plain.routes.from === 'inline')
      const config = { ...plain.routes.config, internalOnly: ['x-internal'] }
      const both = await Both.start(t, { ...plain, routes: { from: 'inline', config } }, { answer })
      await post(both.ports[codec], codec)
      assert.deepEqual({ ...trailers }, { 'x-free': 'root' })
      assert.equal(both.seen[0]?.headers['x-sub'], 'alice')
    })

for (const codec of ['http1', 'http2'] as const)
  test(`trailers over ${codec}, of names that an authorization service has set`, async (t) => {
    let trailers: NodeJS.Dict<string> = {}
    const origin = await serveHttp(t, (request, response) => {
      request.resume().on('end', () => {
        trailers = request.trailers
        response.end()
      })
    })
    const { both } = await AuthRig.overHttp(t, (_q, a) => a.writeHead(200, { 'x-sub': 'alice' }).end(), {
      service: { upstream: [{ kind: 'exact', value: 'x-sub', ignoreCase: true }] },
      originPort: origin,
    })
    await post(both.ports[codec], codec)
    assert.deepEqual(
      FORGED.filter((name) => trailers[name] === undefined),
      ['x-sub', 'x_sub'],
    )
  })
