/** Whom a device believes to be its hub: by root or pin, by name, by a clock that may be fifty years behind. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import http from 'node:http'
import net from 'node:net'
import { once } from 'node:events'
import { connectToHub, type HubTarget } from '../../../control-sync/fleet/hub-connection.ts'
import { MeshError, type ErrorCode } from '../../../core/errors.ts'
import { listPins } from '../../../core/pki/pin.ts'
import { API } from '../../scenarios/fleet/device.ts'
import { testHub } from '../../hub/start-hub.ts'

const right = { nowMs: () => Date.now(), clockIsWrong: false, seen: () => {} }
const refused = (code: ErrorCode, why: RegExp) => (err: unknown) =>
  err instanceof MeshError && err.code === code && why.test(err.message)

test('by its root or by a pin of it, under its name, and nobody else', async (t) => {
  const [h, other] = [await testHub(t, API), await testHub(t, API)]
  const at = (o: Partial<HubTarget> = {}) =>
    connectToHub(
      {
        url: new URL(`https://127.0.0.1:${h.hub.apiPort}`),
        trust: { rootsPem: h.hub.rootsPem },
        certificateClock: right,
        findProxy: undefined,
        ...o,
      },
      AbortSignal.timeout(5_000),
    )
  for (const trust of [{ rootsPem: h.hub.rootsPem }, { pins: listPins(h.hub.rootsPem) }])
    (await at({ trust })).destroy()
  await assert.rejects(at({ trust: { rootsPem: other.hub.rootsPem } }), refused('MESH_CONTROL_TLS', /is not trusted/))
  await assert.rejects(
    at({ trust: { pins: listPins(other.hub.rootsPem) } }),
    refused('MESH_CONTROL_TLS', /has the pin/),
  )
  await assert.rejects(at({ trust: { pins: [] } }), refused('MESH_CONTROL_TLS', /has the pin/))
  await assert.rejects(
    at({ url: new URL(`https://localhost:${h.hub.apiPort}`) }),
    refused('MESH_CONTROL_NAME', /not for localhost/),
  )
  const closed = net.createServer().listen(0, '127.0.0.1')
  await once(closed, 'listening')
  const { port } = closed.address() as net.AddressInfo
  closed.close()
  await assert.rejects(
    at({ url: new URL(`https://127.0.0.1:${port}`) }),
    refused('MESH_CONTROL_UNREACHABLE', /is not reachable/),
  )
})

test('a clock in 1970 keeps nobody away, and what the hub’s certificate was signed at is learned', async (t) => {
  const h = await testHub(t, API)
  const seen: number[] = []
  const certificateClock = { nowMs: () => 0, clockIsWrong: false, seen: (ms: number) => void seen.push(ms) }
  const socket = await connectToHub(
    {
      url: new URL(`https://127.0.0.1:${h.hub.apiPort}`),
      trust: { rootsPem: h.hub.rootsPem },
      certificateClock,
      findProxy: undefined,
    },
    AbortSignal.timeout(5_000),
  )
  socket.destroy()
  assert.ok(Math.abs(seen[0]! - Date.now()) < 600_000)
})

test('through a proxy that wants a password; one that refuses is named', async (t) => {
  const h = await testHub(t, API)
  const proxy = http.createServer().listen(0, '127.0.0.1')
  t.after(() => proxy.close())
  const asked: (string | undefined)[] = []
  proxy.on('connect', (request: http.IncomingMessage, socket: net.Socket) => {
    asked.push(request.headers['proxy-authorization'], request.url)
    socket.on('error', () => {})
    if (request.headers['proxy-authorization'] === undefined) {
      socket.end('HTTP/1.1 407 no\r\n\r\n')
      return
    }
    const to = net.connect(h.hub.apiPort!, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 ok\r\n\r\n')
      socket.pipe(to).pipe(socket)
    })
    to.on('error', () => socket.destroy())
  })
  await once(proxy, 'listening')
  const address = { host: '127.0.0.1', port: (proxy.address() as net.AddressInfo).port }
  const through = (credentials: string | undefined) =>
    connectToHub(
      {
        url: new URL(`https://127.0.0.1:${h.hub.apiPort}`),
        trust: { rootsPem: h.hub.rootsPem },
        certificateClock: right,
        findProxy: () => ({ address, credentials, noProxy: [] }),
      },
      AbortSignal.timeout(5_000),
    )
  ;(await through('user:secret')).destroy()
  assert.deepEqual(asked, [`Basic ${Buffer.from('user:secret').toString('base64')}`, `127.0.0.1:${h.hub.apiPort}`])
  await assert.rejects(through(undefined), refused('MESH_CONTROL_UNREACHABLE', /the proxy .* does not lead to/))
})
