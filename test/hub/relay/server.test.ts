/** Who is let in at the relay's port, and who is thrown out. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import net from 'node:net'
import tls from 'node:tls'
import { WebSocket } from 'ws'
import { encodeFrame, FRAME } from '../../../core/relay/frames.ts'
import { KINDS } from '../../../core/relay/kinds.ts'
import { systemClock, type Clock, type Timer } from '../../../core/os/clock.ts'
import { testHub } from '../start-hub.ts'
import { fleet, until, type Fleet } from './rig.ts'

const PROTOCOL = 'meshlet.1'
const HUB = 'hub.demo.mesh'

function dial({ h, identity }: Fleet, isKnown: boolean): tls.TLSSocket {
  const shown = isKnown ? { key: identity.keyPem, cert: identity.chainPem } : {}
  const port = h.hub.relayPort!
  return tls.connect({ host: '127.0.0.1', port, ca: h.hub.rootsPem, servername: HUB, ...shown })
}
/** The answer's status and body. */
function ask(f: Fleet, isKnown: boolean, head: string): Promise<string> {
  const socket = dial(f, isKnown)
  let text = ''
  socket.on('data', (chunk) => (text += String(chunk)))
  socket.write(head.replaceAll('\n', '\r\n'))
  return new Promise((resolve, reject) => {
    socket.on('close', () => resolve(text))
    socket.on('error', reject)
  })
}
function connect(f: Fleet, headers: Record<string, string> = {}, isKnown = true): WebSocket {
  const socket = dial(f, isKnown)
  const websocket = new WebSocket(`ws://${HUB}/relay?silence=1`, [PROTOCOL], {
    createConnection: () => socket,
    headers,
    perMessageDeflate: false,
  })
  websocket.on('error', () => undefined)
  return websocket
}
const upgrade = (path: string, more = ''): string =>
  `GET ${path} HTTP/1.1\nHost: ${HUB}\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\nSec-WebSocket-Protocol: ${PROTOCOL}\n${more}\n`
const opened = (websocket: WebSocket): Promise<void> =>
  new Promise((resolve, reject) => {
    websocket.once('open', resolve)
    websocket.once('close', reject)
  })
const closed = (websocket: WebSocket): Promise<string> =>
  new Promise((resolve) => {
    websocket.once('close', (code, reason) => resolve(`${code} ${reason.toString()}`))
  })

test('without a certificate or with a wrong token nobody is let in, and is told why', async (t) => {
  const f = await fleet(t, '{"resources": []}')
  assert.match(await ask(f, false, upgrade('/relay')), /^HTTP\/1.1 401 [^]*"MESH_CONTROL_UNAUTHENTICATED"/)
  // Whoever shows it has the code and the remedy.
  assert.doesNotMatch(await ask(f, false, upgrade('/relay')), /"message":"MESH_/)
  assert.match(
    await ask(f, false, upgrade('/relay', 'Authorization: Bearer nothing\n')),
    /^HTTP\/1.1 401 [^]*"MESH_TOKEN_INVALID"/,
  )
})

test('a token opens the relay as a certificate does', async (t) => {
  const f = await fleet(t, '{"resources": []}')
  const { token } = await f.h.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: 'gw-2' })
  const websocket = connect(f, { authorization: `Bearer ${token}` }, false)
  await opened(websocket)
  websocket.close()
})

test('other paths and protocols are not there', async (t) => {
  const f = await fleet(t, '{"resources": []}')
  assert.match(await ask(f, true, upgrade('/other')), /^HTTP\/1.1 404 [^]*MESH_CONTROL_UNIMPLEMENTED/)
  assert.match(await ask(f, true, upgrade('/relay').replace(PROTOCOL, 'mqtt')), /^HTTP\/1.1 404/)
  assert.match(await ask(f, true, `GET / HTTP/1.1\nHost: ${HUB}\nConnection: close\n\n`), /^HTTP\/1.1 404/)
})

test('what is no WebSocket, no TLS or no HTTP costs the hub nothing but the connection', async (t) => {
  const f = await fleet(t, '{"resources": []}')
  await ask(f, true, 'NONSENSE\n\n')
  const plain = net.connect(f.h.hub.relayPort!, '127.0.0.1')
  plain.on('error', () => undefined)
  plain.end('GET / HTTP/1.1\r\n\r\n')
  await new Promise((resolve) => plain.on('close', resolve))
  const bytes = connect(f)
  await opened(bytes)
  bytes.send(Buffer.of(250, 1, 2))
  assert.equal(await closed(bytes), '1008 MESH_CONTROL_PROTOCOL')
  const large = connect(f)
  await opened(large)
  large.send(Buffer.alloc(300_000))
  assert.match(await closed(large), /^1009/)
  const good = connect(f)
  await opened(good)
  good.close()
})

test('a revoked token ends the connections of its devices within a second or two', async (t) => {
  const f = await fleet(t, '{"resources": []}')
  const websocket = connect(f)
  await opened(websocket)
  const [row] = await f.h.hub.registry.tokens()
  await f.h.hub.registry.revokeToken(row!.jti, Date.now())
  assert.equal(await closed(websocket), '1008 MESH_CONTROL_UNAUTHENTICATED')
})

test('the end of the hub is told', async (t) => {
  const f = await fleet(t, '{"resources": []}')
  const websocket = connect(f)
  await opened(websocket)
  const ended = closed(websocket)
  await f.h.hub[Symbol.asyncDispose]()
  assert.match(await ended, /MESH_DRAINING/)
})

test('connections are counted, and given back', async (t) => {
  const f = await fleet(t, '{"resources": []}')
  const websocket = connect(f)
  await opened(websocket)
  const sessions = (): string => /mesh_hub_relay_sessions (\d+)/.exec(f.h.metrics.text())![1]!
  assert.equal(sessions(), '1')
  websocket.terminate()
  await until(() => sessions() === '0', 'given back')
})

test('halves of messages on all connections of a device share one budget, which is free again when they are over', async (t) => {
  const f = await fleet(t, '{"resources": []}', 'limits: {maxRequestBytes: 65536, maxHalfMessageBytes: 131072}\n')
  const half = (stream: number): Uint8Array[] => [
    encodeFrame({ type: FRAME.open, stream, payload: Buffer.of(KINDS.certificate) }),
    ...Array.from({ length: 3 }, () => encodeFrame({ type: FRAME.part, stream, payload: Buffer.alloc(16_384) })),
  ]
  const websockets = [connect(f), connect(f)]
  await Promise.all(websockets.map(opened))
  for (const websocket of websockets) websocket.send(Buffer.concat([...half(1), ...half(3)]))
  assert.equal(await Promise.race(websockets.map(closed)), '1008 MESH_CONTROL_SLOW_DOWN')
  for (const websocket of websockets) websocket.terminate()
  await until(() => f.h.metrics.total('mesh_hub_relay_sessions') === 0, 'all are gone')
  assert.equal(f.h.metrics.total('mesh_hub_relay_held_bytes'), 0)
  assert.equal(f.h.metrics.total('mesh_hub_budget_exceeded_total', { budget: 'half-messages' }), 1)
})

test('TLS 1.2 is refused, and still is when the certificate of the hub has been renewed', async (t) => {
  const renewals: (() => void)[] = []
  const clock: Clock = Object.create(systemClock, {
    after: {
      value: (ms: number, fire: () => void): Timer => {
        const timer = systemClock.after(ms, fire)
        const renew = (): void => {
          timer.cancel()
          fire()
        }
        if (ms > 7 * 86_400_000) renewals.push(renew)
        return timer
      },
    },
  }) as Clock
  const { hub, lines } = await testHub(t, 'relay: {listen: "127.0.0.1:0"}\n', { clock })
  const dialOld = (): Promise<string> =>
    new Promise((resolve) => {
      const o = { host: '127.0.0.1', port: hub.relayPort!, rejectUnauthorized: false, maxVersion: 'TLSv1.2' } as const
      const socket = tls.connect(o, () => {
        socket.destroy()
        resolve('taken')
      })
      socket.on('error', ({ message }) => resolve(message))
    })
  assert.match(await dialOld(), /protocol version/i)
  for (const renew of renewals.splice(0)) renew()
  assert.ok(lines.some((line) => line['evt'] === 'hub.server-certificate'))
  assert.match(await dialOld(), /protocol version/i)
})
