/** Connections of operators through a real hub and its relay to ports of a device. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { test, type TestContext } from 'node:test'
import { HubRequests } from '../../../control-sync/fleet/hub-requests.ts'
import { silentLog } from '../../../core/log.ts'
import { systemClock } from '../../../core/os/clock.ts'
import { systemNetwork } from '../../../core/os/network.ts'
import type { TunnelEnd } from '../../../core/relay/tunnel.ts'
import { findHubBeside } from '../../../hub/relay/connect-client.ts'
import { fleet, services, until, whole, type Fleet } from './rig.ts'

async function listen(t: TestContext, serve: (socket: net.Socket) => void): Promise<number> {
  const sockets = new Set<net.Socket>()
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    serve(socket)
  })
  await new Promise<void>((done) => {
    server.listen(0, '127.0.0.1', done)
  })
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as net.AddressInfo).port
}

/** Says it all back once the other side has said all. */
function echo(socket: net.Socket): void {
  const got: Buffer[] = []
  socket.on('data', (bytes: Buffer) => got.push(bytes))
  socket.on('end', () => socket.end(Buffer.concat(got)))
}

type Rig = {
  readonly f: Fleet
  readonly requests: HubRequests
  readonly state: string
  /** A connection of an operator: our end of it, and what becomes of it. */
  connect(port: number, device?: string): Promise<{ own: net.Socket; ended: Promise<TunnelEnd> }>
}
async function rig(t: TestContext, ports: readonly number[], settings = ''): Promise<Rig> {
  const requests = new HubRequests({
    clock: systemClock,
    log: silentLog,
    permitted: permit(ports),
    run: () => Promise.reject(new Error('no')),
    dial: async (to, signal) => (await systemNetwork.dial(to, signal)).stream,
  })
  const f = await fleet(t, services(2), settings)
  const agent = f.agent(undefined, (stream, head) => requests.accept(stream, head))
  await whole(agent, 2)
  const state = `${f.h.folder}/state`
  const hub = await findHubBeside(state)
  t.after(() => hub[Symbol.dispose]())
  const connect: Rig['connect'] = async (port, device = 'gw-1') => {
    const { promise, resolve } = Promise.withResolvers<TunnelEnd>()
    const at = await listen(t, (socket) => {
      const request = { device, host: '127.0.0.1', port, operator: 'operator:ada', address: '127.0.0.1:9' }
      void hub.carry(socket, request).then(resolve)
    })
    const own = net.connect({ host: '127.0.0.1', port: at, allowHalfOpen: true })
    own.on('error', () => undefined)
    t.after(() => own.destroy())
    return { own, ended: promise }
  }
  return { f, requests, state, connect }
}
const permit = (ports: readonly number[]) => ({ commands: [], ports: ports.map((port) => `127.0.0.1:${port}`) })

function readAll(socket: net.Socket): Promise<Buffer> {
  const got: Buffer[] = []
  return new Promise((resolve, reject) => {
    socket.on('data', (bytes: Buffer) => got.push(bytes))
    socket.on('end', () => resolve(Buffer.concat(got)))
    socket.on('error', reject)
  })
}

test('3 MB go both ways with an end each, and the audit log has who, where, when and how much', async (t) => {
  const port = await listen(t, echo)
  const { f, connect } = await rig(t, [port])
  const { own, ended } = await connect(port)
  const sent = Buffer.alloc(3_000_000, 'abcdefg')
  const got = readAll(own)
  own.end(sent)
  assert.equal((await got).equals(sent), true)
  assert.deepEqual(await ended, { sent: sent.length, received: sent.length, reason: undefined })
  const tunnels = async () =>
    (await f.h.hub.registry.audit.list({ most: 100 })).filter(({ event }) => event.startsWith('tunnel.'))
  while ((await tunnels()).length < 2) await systemClock.sleep(10)
  const rows = await tunnels()
  assert.deepEqual(
    rows.map(({ actor, event, subject, address }) => [actor, event, subject, address]),
    ['tunnel.asked', 'tunnel.ended'].map((event) => ['operator:ada', event, 'gw-1', '127.0.0.1:9']),
  )
  assert.equal(rows[0]?.detail, `127.0.0.1:${port}`)
  assert.match(rows[1]?.detail ?? '', /3000000 bytes to the device, 3000000 from it/)
  assert.match(f.h.metrics.text(), /mesh_hub_tunnel_bytes_total\{direction="sent"\} 3000000/)
  assert.match(f.h.metrics.text(), /mesh_hub_tunnels 0\n/)
})

test('an end before the first byte is an end', async (t) => {
  const port = await listen(t, echo)
  const { connect } = await rig(t, [port])
  const { own, ended } = await connect(port)
  own.resume().end()
  assert.deepEqual(await ended, { sent: 0, received: 0, reason: undefined })
})

test('what is refused says what to do about it, and where', async (t) => {
  const port = await listen(t, echo)
  const { connect, f } = await rig(t, [port, 1])
  const reason = async (to: number, device?: string): Promise<string> => {
    const { reason: why } = await (await connect(to, device)).ended
    return `${why?.code} ${why?.message}`
  }
  assert.match(await reason(2), /^MESH_CONNECT_FORBIDDEN gw-1: .*`control: \{connect: \{ports: \[2\]\}\}` would$/)
  assert.match(await reason(1), /^MESH_CONNECT_BROKEN gw-1: the port cannot be reached/)
  assert.match(await reason(port, 'gw-2'), /^MESH_CONNECT_AWAY "gw-2" is no device that is known/)
  assert.match(f.h.metrics.text(), /mesh_hub_tunnels_total\{outcome="MESH_CONNECT_FORBIDDEN"\} 1/)
})

test('there are so many connections at once and no more, and one that ends makes room', async (t) => {
  const port = await listen(t, (socket) => socket.write('hello'))
  const { connect } = await rig(t, [port], 'limits: {maxTunnelsPerDevice: 2}\n')
  const greeted = async () => {
    const one = await connect(port)
    await new Promise((resolve) => one.own.once('data', resolve))
    return one
  }
  const first = await greeted()
  await greeted()
  assert.match(`${(await (await connect(port)).ended).reason?.message}`, /limits\.maxTunnelsPerDevice/)
  first.own.resetAndDestroy()
  assert.equal((await first.ended).reason?.code, 'MESH_CONTROL_UNREACHABLE')
  await greeted()
})

test('a connection ends with the permission and with a device that is revoked, and looks cut off', async (t) => {
  const port = await listen(t, (socket) => socket.write('hello'))
  const { connect, requests, f } = await rig(t, [port])
  const cut = async (end: () => unknown): Promise<string> => {
    const { own, ended } = await connect(port)
    await new Promise((resolve) => own.once('data', resolve))
    const error = new Promise<NodeJS.ErrnoException>((resolve) => own.once('error', resolve))
    await end()
    assert.equal((await error).code, 'ECONNRESET')
    return `${(await ended).reason?.code}`
  }
  assert.equal(await cut(() => requests.permit(permit([]))), 'MESH_CONNECT_FORBIDDEN')
  assert.equal((await (await connect(port)).ended).reason?.code, 'MESH_CONNECT_FORBIDDEN')
  requests.permit(permit([port]))
  const { registry } = f.h.hub
  const revoke = async (): Promise<void> => {
    for (const { jti } of await registry.tokens()) await registry.revokeToken(jti, systemClock.wallMs())
  }
  assert.equal(await cut(revoke), 'MESH_CONNECT_BROKEN')
  await until(() => f.h.metrics.text().includes('mesh_hub_relay_sessions 0'), 'the device has gone')
  assert.equal((await (await connect(port)).ended).reason?.code, 'MESH_CONNECT_AWAY')
})

test('a slow reader holds what comes back, and not the memory of the hub', async (t) => {
  let written = 0
  const port = await listen(t, (socket) => {
    const piece = Buffer.alloc(65_536)
    const fill = (): void => {
      do written += piece.length
      while (socket.write(piece) && written < 200_000_000)
    }
    socket.on('drain', fill)
    fill()
  })
  const { connect } = await rig(t, [port])
  const { own } = await connect(port)
  own.pause()
  let before = -1
  while (written !== before) {
    before = written
    await systemClock.sleep(300)
  }
  assert.ok(written < 60_000_000, `${written} bytes were taken`)
})

test('garbage on the socket ends that connection and no other', async (t) => {
  const port = await listen(t, echo)
  const { state, connect, f } = await rig(t, [port])
  const file = path.join(state, 'connect.sock')
  assert.equal(fs.statSync(file).mode & 0o777, 0o600)
  const length = (n: number): Buffer => {
    const head = Buffer.alloc(4)
    head.writeUInt32BE(n)
    return head
  }
  for (const garbage of [
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    length(0xffffffff),
    Buffer.concat([length(5), Buffer.from('xxxxx')]),
    Buffer.concat([length(64_000), Buffer.alloc(64_000, 0xff)]),
  ]) {
    const socket = net.connect(file)
    socket.on('error', () => undefined)
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.resume().write(garbage)
    await closed
  }
  const { own, ended } = await connect(port)
  own.resume().end('x')
  assert.equal((await ended).reason, undefined)
  assert.equal(f.h.lines.filter(({ level }) => Number(level) >= 50).length, 0)
})
