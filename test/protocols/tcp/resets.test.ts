/**
 * What breaks off on one side of a TCP proxy breaks off on the other, and is noticed while nobody reads. On real
 * sockets: a RST is the kernel's.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import net from 'node:net'
import tls from 'node:tls'
import { once } from 'node:events'
import type { Codec } from '../../../model/listener.ts'
import { getPausedStreams } from '../../../protocols/paused-streams.ts'
import { testCa } from '../../helpers/test-ca.ts'
import { manager } from '../http/harness.ts'
import { SocketOrigin, SocketRig } from '../downstream/socket-rig.ts'

const TCP: Codec = { kind: 'tcp', tcp: { clusters: [{ name: 'origin', weight: 1 } as never], idleMs: undefined } }
const HTTP: Codec = { kind: 'http', http: manager() }
/** How a socket ended: with its error's code, or in order. */
function endOf(socket: net.Socket): { how: string | undefined } {
  const seen: { how: string | undefined } = { how: undefined }
  socket
    .resume()
    .once('error', (err: NodeJS.ErrnoException) => {
      seen.how ??= err.code
    })
    .once('end', () => {
      seen.how ??= 'end'
    })
  return seen
}
async function joined(rig: SocketRig, origin: SocketOrigin): Promise<{ client: net.Socket; server: net.Socket }> {
  const at = origin.sockets.length
  const client = await rig.dial()
  client.write('hello')
  await rig.until('the endpoint has it', () => (origin.sockets[at]?.bytesRead ?? 0) > 0)
  return { client, server: origin.sockets[at]! }
}

test('a reset of the endpoint arrives at the client as a reset, an end as an end', async () => {
  using origin = await SocketOrigin.listen((s) => {
    s.resume()
  })
  await using rig = await SocketRig.open({ codec: TCP }, { clusters: [origin.cluster()] })
  const broken = await joined(rig, origin)
  const reset = endOf(broken.client)
  broken.server.resetAndDestroy()
  await rig.until('it is over', () => reset.how !== undefined)
  const whole = await joined(rig, origin)
  const ended = endOf(whole.client)
  whole.server.end('bye')
  await rig.until('it is over', () => ended.how !== undefined)
  assert.deepEqual([reset.how, ended.how], ['ECONNRESET', 'end'])
})
test('a reset of the client arrives at the endpoint as a reset', async () => {
  using origin = await SocketOrigin.listen((s) => {
    s.resume()
  })
  await using rig = await SocketRig.open({ codec: TCP }, { clusters: [origin.cluster()] })
  const { client, server } = await joined(rig, origin)
  const reset = endOf(server)
  client.resetAndDestroy()
  await rig.until('it is over', () => reset.how !== undefined)
  assert.equal(reset.how, 'ECONNRESET')
})
test('a reset behind TLS arrives at the client as a reset of the connection', async () => {
  const mesh = testCa('mesh.test')
  using origin = await SocketOrigin.listen((s) => {
    s.resume()
  })
  await using rig = await SocketRig.open(
    {
      codec: TCP,
      tls: {
        certificate: { from: 'workload' },
        validation: undefined,
        requireClientCertificate: false,
        alpnProtocols: [],
        minVersion: 'TLSv1.2',
        maxVersion: 'TLSv1.3',
        cipherSuites: [],
      },
    },
    { clusters: [origin.cluster()], identity: mesh.issue('edge', 'gateway') },
  )
  const raw = await rig.dial({ allowHalfOpen: false })
  const client = tls.connect({ socket: raw, ca: mesh.rootsPem, checkServerIdentity: () => undefined })
  client.on('error', () => {})
  const reset = endOf(client)
  await once(client, 'secureConnect')
  client.write('hello')
  await rig.until('the endpoint has it', () => origin.sockets[0] !== undefined && origin.sockets[0].bytesRead > 0)
  origin.sockets[0]!.resetAndDestroy()
  await rig.until('it is over', () => reset.how !== undefined)
  assert.equal(reset.how, 'ECONNRESET')
})
for (const { name, codec, head } of [
  { name: 'TCP', codec: TCP, head: '' },
  { name: 'an HTTP/1.1 upload', codec: HTTP, head: 'PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 900000000\r\n\r\n' },
]) {
  test(`${name}: 20 clients that reset while the endpoint does not read are let go`, async () => {
    using origin = await SocketOrigin.listen((s) => {
      s.pause()
    })
    await using rig = await SocketRig.open({ codec }, { clusters: [origin.cluster()] })
    const clients: net.Socket[] = []
    for (let i = 0; i < 20; i++) {
      const client = await rig.dial()
      client.write(head)
      client.write(Buffer.alloc(16 * 1024 * 1024))
      clients.push(client)
    }
    const paused = getPausedStreams(rig.ctx)
    await rig.until('nobody is read from any more', () => paused.size >= 20)
    assert.equal(rig.path.connections, 20)
    for (const client of clients) client.resetAndDestroy()
    await rig.until('they are let go', () => rig.path.connections === 0, 1_000)
    await rig.until("so are the endpoints' connections", () => rig.metrics.total('mesh_upstream_connections') === 0)
    assert.equal(paused.size, 0)
  })
}
test('an endpoint that reads slowly gets all of it, also when both have ended', async () => {
  using origin = await SocketOrigin.listen((s) => {
    s.end('ready')
  })
  await using rig = await SocketRig.open({ codec: TCP }, { clusters: [origin.cluster()] })
  const client = await rig.dial()
  client.resume()
  const bytes = 24 * 1024 * 1024
  client.end(Buffer.alloc(bytes))
  await rig.until('no more is taken', () => getPausedStreams(rig.ctx).size === 1)
  let got = 0
  origin.sockets[0]!.on('data', (d: Buffer) => {
    got += d.length
  })
  await rig.until('all has come', () => got === bytes)
  await rig.until('it is over', () => rig.path.connections === 0)
})
test('a pair that has ended, of which one side does not take the rest, is over with its idle time', async () => {
  using origin = await SocketOrigin.listen((s) => {
    s.end('ready')
  })
  await using rig = await SocketRig.open(
    { codec: { kind: 'tcp', tcp: { clusters: [{ name: 'origin', weight: 1 } as never], idleMs: 60_000 } } },
    { clusters: [origin.cluster()] },
  )
  const client = await rig.dial()
  client.resume()
  client.end(Buffer.alloc(24 * 1024 * 1024))
  await rig.until('no more is taken', () => getPausedStreams(rig.ctx).size === 1)
  await rig.until('it is over', () => rig.path.connections === 0, 30_000)
})
test('a listener on :: takes IPv4 clients only with ipv4_compat', async (t) => {
  const hasIpv6 = await new Promise<boolean>((resolve) => {
    const s = net
      .createServer()
      .once('error', () => resolve(false))
      .listen(0, '::1', () => {
        s.close()
        resolve(true)
      })
  })
  if (!hasIpv6) {
    t.diagnostic('this machine has no IPv6')
    return
  }
  using origin = await SocketOrigin.listen((s) => {
    s.resume()
  })
  for (const ipv4Compat of [false, true]) {
    await using rig = await SocketRig.open(
      { codec: TCP },
      { clusters: [origin.cluster()], listener: { address: '::', ...(ipv4Compat ? { ipv4Compat } : {}) } },
    )
    const reaches = async (host: string): Promise<boolean> =>
      rig.dial({ host }).then(
        () => true,
        () => false,
      )
    assert.deepEqual([await reaches('::1'), await reaches('127.0.0.1')], [true, ipv4Compat])
  }
})
