/** The gRPC side of the control link against real servers on loopback: flavours, proofs, endings, names, sizes. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { Metrics } from '../../../core/metrics.ts'
import { GrpcTransport, type GrpcTransportOptions } from '../../../control-sync/ads/grpc-stream.ts'
import {
  createByteCount,
  createChannelOptions,
  type ControlPlane,
} from '../../../control-sync/connection/control-plane.ts'
import type { NodeDescription } from '../../../control-sync/ads/node.ts'
import { FakeIstiod } from '../../helpers/control-plane/fake-istiod.ts'
import { ENDINGS } from '../../helpers/control-plane/fake-streams.ts'
import { serveFakeIstiod, TOKEN, type FakeServer } from '../../helpers/control-plane/fake-istiod-server.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { edsCluster, httpListener, load, SyncedAgent, table } from '../../helpers/control-plane/synced-agent.ts'
import { testCa } from '../../helpers/test-ca.ts'

const NODE: NodeDescription = {
  id: 'sidecar~127.0.0.1~edge-1.edge~edge.svc.cluster.local',
  cluster: 'edge.edge',
  locality: { region: '', zone: '', subZone: '' },
  metadata: { NAMESPACE: 'edge', SERVICE_ACCOUNT: 'gateway' },
  userAgentVersion: '0',
}

function mesh(): FakeIstiod {
  const istiod = new FakeIstiod()
  istiod.put(edsCluster('a'), load('a', '10.0.0.1'), httpListener('l', '80'), table('80', 'a'))
  return istiod
}
function transportTo(
  server: Pick<FakeServer, 'port' | 'ca'>,
  o: Partial<ControlPlane> & Omit<Partial<GrpcTransportOptions>, 'control'> = {},
): GrpcTransport {
  const {
    protocol,
    compression,
    node = NODE,
    identity = { current: () => undefined, watch: () => ({ [Symbol.dispose]: () => undefined }) },
    clock = new SimClock(),
    onCertificateRefused = () => undefined,
    ...control
  } = o
  return new GrpcTransport({
    node,
    identity,
    clock,
    protocol,
    compression,
    onCertificateRefused,
    control: {
      addresses: [`127.0.0.1:${server.port}`],
      serverName: 'istiod.istio-system.svc',
      clusterId: 'Kubernetes',
      roots: () => Buffer.from(server.ca.rootsPem),
      token: () => TOKEN,
      ...control,
    },
  })
}
/** Turns of the loop until it holds, with the agent's clock going on. */
async function until(what: string, agent: SyncedAgent | undefined, holds: () => boolean): Promise<void> {
  const by = performance.now() + 20_000
  while (!holds()) {
    if (performance.now() > by)
      assert.fail(`did not happen: ${what}; ${agent?.sync.link.error?.message ?? agent?.sync.link.state}`)
    await new Promise((resolve) => {
      setTimeout(resolve, 2)
    })
    if (agent?.sync.link.state === 'waiting') await agent.clock.advance(1_000)
  }
}
const ended = (agent: SyncedAgent): Promise<void> =>
  until('the stream ended', agent, () => agent.sync.link.error !== undefined)

test('delta: everything comes, with node, token and cluster id as istiod wants them, and bytes are counted by purpose', async () => {
  const istiod = mesh()
  await using server = await serveFakeIstiod(istiod)
  const metrics = new Metrics()
  await using agent = new SyncedAgent(transportTo(server, { bytes: createByteCount(metrics) }))
  await until('synced', agent, () => agent.synced)
  assert.deepEqual(
    [server.came[0]!.get('clusterid'), server.came[0]!.get('authorization'), server.nodes.map((n) => n.id)],
    [['Kubernetes'], [`Bearer ${TOKEN}`], [NODE.id]],
  )
  assert.deepEqual(
    [agent.names('cluster'), agent.names('endpoint'), agent.names('route'), istiod.log],
    [['a'], ['a'], ['80'], []],
  )
  for (const purpose of ['cluster', 'endpoint', 'listener', 'route', 'nameTable']) {
    for (const direction of ['sent', 'received'])
      assert.ok(metrics.total('mesh_control_bytes_total', { purpose, direction }) > 20, `${purpose} ${direction}`)
  }
  assert.equal(metrics.total('mesh_control_bytes_total', { purpose: 'proxyConfig', direction: 'received' }), 0)
})

test('state of the world by setting: absent clusters and listeners are gone, endpoints and tables go with who names them', async () => {
  const istiod = mesh()
  istiod.put(edsCluster('b'), load('b', '10.0.0.2'), httpListener('m', '81', { port: 8081 }), table('81', 'b'))
  await using server = await serveFakeIstiod(istiod)
  await using agent = new SyncedAgent(transportTo(server, { protocol: 'sotw' }))
  await until('synced', agent, () => agent.synced)
  assert.deepEqual(agent.names('endpoint'), ['a', 'b'])
  istiod.drop('cluster', 'b')
  istiod.drop('listener', 'm')
  istiod.push({ clusters: ['b'] })
  await until('b is gone', agent, () => !agent.names('route').includes('81'))
  assert.deepEqual(
    [agent.names('cluster'), agent.names('endpoint'), agent.names('listener'), agent.names('route')],
    [['a'], ['a'], ['l'], ['80']],
  )
})

test('auto: a server without delta is asked for the state of the world; with protocol delta it is not', async () => {
  const istiod = mesh()
  await using server = await serveFakeIstiod(istiod, { flavours: ['sotw'] })
  await using agent = new SyncedAgent(transportTo(server))
  await until('synced', agent, () => agent.synced)
  assert.deepEqual(agent.names('endpoint'), ['a'])
  await using strict = new SyncedAgent(transportTo(server, { protocol: 'delta' }))
  await ended(strict)
  assert.equal(strict.sync.link.error?.code, 'MESH_CONTROL_UNIMPLEMENTED')
})

test('a server that has lost the state of the world meanwhile is asked for delta again', async () => {
  const istiod = mesh()
  await using server = await serveFakeIstiod(istiod)
  istiod.refuse.push(ENDINGS.noDelta, { code: 12, details: 'unknown method StreamAggregatedResources' })
  await using agent = new SyncedAgent(transportTo(server))
  await until('synced', agent, () => agent.synced)
  assert.equal(server.came.length, 3)
})

for (const [what, over, code] of [
  ['another token', { token: () => 'other' }, 'MESH_CONTROL_UNAUTHENTICATED'],
  [
    'another namespace',
    { node: { ...NODE, metadata: { NAMESPACE: 'other', SERVICE_ACCOUNT: 'gateway' } } },
    'MESH_CONTROL_FORBIDDEN',
  ],
  ['a node id of three parts', { node: { ...NODE, id: 'sidecar~127.0.0.1~edge' } }, 'MESH_CONTROL_REFUSED'],
  ['another server name', { serverName: 'other.example' }, 'MESH_CONTROL_NAME'],
  ['another root', { roots: () => Buffer.from(testCa().rootsPem) }, 'MESH_CONTROL_TLS'],
  ['a push above the bound', { maxMessageBytes: 200 }, 'MESH_CONTROL_MESSAGE_SIZE'],
] as const) {
  test(`${what}: ${code}`, async () => {
    const istiod = mesh()
    await using server = await serveFakeIstiod(istiod)
    await using agent = new SyncedAgent(transportTo(server, over))
    await ended(agent)
    assert.equal(agent.sync.link.error?.code, code)
  })
}

test('a deadline, a rate limit and a certificate are told apart on the wire', async () => {
  const istiod = mesh()
  await using server = await serveFakeIstiod(istiod)
  istiod.refuse.push({ code: 4, details: 'context deadline exceeded' }, ENDINGS.rate, ENDINGS.notReady)
  const codes: string[] = []
  const transport = transportTo(server)
  for (let i = 0; i < 3; i++)
    codes.push(
      await new Promise<string>((resolve) => {
        void transport.open({ onResponse: () => undefined, onEnd: (reason) => resolve(reason.code) })
      }),
    )
  assert.deepEqual(codes, ['MESH_CONTROL_TIMEOUT', 'MESH_CONTROL_SLOW_DOWN', 'MESH_CONTROL_UNREACHABLE'])
})

test('GOAWAY at the age limit of connections ends the stream as unreachable, and the next one is there', async () => {
  const istiod = mesh()
  await using server = await serveFakeIstiod(istiod, {
    grpc: { 'grpc.max_connection_age_ms': 200, 'grpc.max_connection_age_grace_ms': 50 },
  })
  await using agent = new SyncedAgent(transportTo(server))
  await until('the second stream', agent, () => server.came.length > 1 && agent.sync.link.state === 'connected')
  assert.ok(agent.metrics.total('mesh_control_streams_total', { result: 'ended' }) > 0)
})

test('istiod ends connections that ping more often than every 15 s, or without a stream: neither is done here', () => {
  const options = createChannelOptions({
    addresses: [],
    serverName: undefined,
    clusterId: 'Kubernetes',
    roots: () => Buffer.alloc(0),
    token: () => undefined,
  })
  assert.ok(options['grpc.keepalive_time_ms']! >= 15_000)
  assert.ok(!options['grpc.keepalive_permit_without_calls'])
})
test('a push of a thousand services may be on its way at once: over a satellite a window of 64 KiB is one a round trip', async (t) => {
  const ca = testCa()
  const own = ca.issue('istio-system', 'istiod', { dnsNames: ['istiod.istio-system.svc'] })
  const windows: unknown[] = []
  const server = http2
    .createSecureServer({ key: own.keyPem, cert: own.chainPem })
    .on('stream', (stream) => {
      stream.on('error', () => undefined)
      const { remoteSettings, state } = stream.session!
      windows.push(remoteSettings.initialWindowSize, state.remoteWindowSize)
      stream.session!.destroy()
    })
    .listen(0, '127.0.0.1')
  await once(server, 'listening')
  await using agent = new SyncedAgent(transportTo({ port: (server.address() as AddressInfo).port, ca }))
  t.after(() => {
    server.close()
  })
  await ended(agent)
  assert.deepEqual(windows.slice(0, 2), [4 * 1024 * 1024, 4 * 1024 * 1024], 'of the stream, and of the connection')
})

test('GOAWAY too_many_pings, from something in between that allows fewer: unreachable, and the next stream is there', async (t) => {
  const ca = testCa()
  const own = ca.issue('istio-system', 'istiod', { dnsNames: ['istiod.istio-system.svc'] })
  const calls: string[] = []
  const server = http2
    .createSecureServer({ key: own.keyPem, cert: own.chainPem })
    .on('stream', (stream) => {
      calls.push(String(stream.session!.socket?.remotePort))
      stream.on('error', () => undefined)
      stream.session!.on('error', () => undefined)
      if (calls.length === 1) {
        stream.session!.goaway(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM, 0, Buffer.from('too_many_pings'))
        stream.session!.destroy()
      }
    })
    .listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await using agent = new SyncedAgent(transportTo({ port, ca }))
  t.after(() => {
    server.close()
  })
  await ended(agent)
  assert.equal(agent.sync.link.error?.code, 'MESH_CONTROL_UNREACHABLE')
  await until('the next stream', agent, () => calls.length > 1)
  assert.equal(new Set(calls).size, 2, 'on a connection of its own')
})

test('several addresses: the next one when the first cannot be had, the first again after a good stream', async () => {
  const istiod = mesh()
  await using first = await serveFakeIstiod(istiod)
  await using second = await serveFakeIstiod(istiod, { ca: first.ca })
  istiod.refuse.push(ENDINGS.notReady)
  const clock = new SimClock()
  const transport = transportTo(first, { addresses: [`127.0.0.1:${first.port}`, `127.0.0.1:${second.port}`], clock })
  await using agent = new SyncedAgent(transport)
  await until('synced', agent, () => agent.synced)
  assert.equal(agent.sync.link.address, `127.0.0.1:${second.port}`)
  await clock.advance(1_800_000)
  istiod.end(ENDINGS.dropped)
  await until(
    'the first again',
    agent,
    () => agent.sync.link.address === `127.0.0.1:${first.port}` && agent.sync.link.state === 'connected',
  )
})

test('an IPv6 address in brackets (skipped where there is no IPv6 loopback)', async (t) => {
  const istiod = mesh()
  let server: FakeServer
  try {
    server = await serveFakeIstiod(istiod, { host: '[::1]' })
  } catch {
    t.skip('this machine has no IPv6 loopback')
    return
  }
  await using running = server
  await using agent = new SyncedAgent(transportTo(running, { addresses: [`[::1]:${running.port}`] }))
  await until('synced', agent, () => agent.synced)
})

test('a name: all its addresses of a family are tried, and its certificate is for the name', async () => {
  const istiod = mesh()
  await using server = await serveFakeIstiod(istiod, { dnsNames: ['istiod.example'] })
  const asked: string[] = []
  const names = async (host: string): Promise<readonly string[]> => {
    asked.push(host)
    return ['127.0.0.2', '127.0.0.1']
  }
  await using agent = new SyncedAgent(
    transportTo(server, { addresses: [`istiod.example:${server.port}`], serverName: undefined, names }),
  )
  await until('synced', agent, () => agent.synced)
  assert.deepEqual(asked, ['istiod.example'])
})

test('gzip: requests are compressed for a server that takes it', async () => {
  const istiod = mesh()
  await using server = await serveFakeIstiod(istiod)
  await using agent = new SyncedAgent(transportTo(server, { compression: 'gzip' }))
  await until('synced', agent, () => agent.synced)
})

test('gzip towards istiod, which ends the stream for it: the next try is without', async () => {
  const ca = testCa()
  const own = ca.issue('istio-system', 'istiod', { dnsNames: ['istiod.istio-system.svc'] })
  const encodings: (string | string[] | undefined)[] = []
  const server = http2.createSecureServer({ key: own.keyPem, cert: own.chainPem })
  const sessions = new Set<http2.ServerHttp2Session>()
  server.on('session', (s) => {
    sessions.add(s)
  })
  server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
    encodings.push(headers['grpc-encoding'])
    stream.on('error', () => undefined)
    const isGzip = headers['grpc-encoding'] === 'gzip'
    stream.respond(
      {
        ':status': 200,
        'content-type': 'application/grpc',
        'grpc-status': String(isGzip ? ENDINGS.gzip.code : ENDINGS.notReady.code),
        'grpc-message': encodeURI(isGzip ? ENDINGS.gzip.details : ENDINGS.notReady.details),
      },
      { endStream: true },
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const transport = transportTo({ port: (server.address() as AddressInfo).port, ca }, { compression: 'gzip' })
  const codes: string[] = []
  for (let i = 0; i < 2; i++)
    codes.push(
      await new Promise<string>((resolve) => {
        void transport.open({ onResponse: () => undefined, onEnd: (reason) => resolve(reason.code) })
      }),
    )
  assert.deepEqual(
    [codes, encodings],
    [
      ['MESH_CONTROL_COMPRESSION', 'MESH_CONTROL_UNREACHABLE'],
      ['gzip', undefined],
    ],
  )
  for (const session of sessions) session.destroy()
  server.close()
})

test('a server that ends the stream for a kind that it does not know is not asked for that kind again', async () => {
  const istiod = mesh()
  await using server = await serveFakeIstiod(istiod)
  istiod.refuse.push({ code: 3, details: 'unsupported type_url "type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig"' })
  const transport = transportTo(server)
  await using agent = new SyncedAgent(transport)
  await until('synced', agent, () => agent.synced)
  assert.deepEqual([...transport.without], ['proxyConfig'])
})

for (const protocol of ['delta', 'sotw'] as const)
  test(`${protocol}: while it is paused one answer more is read, and after that all come`, async () => {
    const istiod = mesh()
    await using server = await serveFakeIstiod(istiod)
    let [read, told, over] = [0, 0, false]
    const bytes = (_: string, direction: string): void => {
      if (direction === 'received') read++
    }
    const transport = transportTo(server, { protocol, bytes })
    const stream = await transport.open({
      onResponse: () => {
        if (++told === 1) stream.pause!()
      },
      onEnd: () => {
        over = true
      },
    })
    stream.send({
      kind: 'cluster',
      withNode: true,
      nonce: '',
      known: new Map(),
      subscribe: [],
      unsubscribe: [],
      error: undefined,
    })
    await until('another one', undefined, () => told === 1)
    for (let i = 0; i < 20; i++) istiod.push({ clusters: ['a'] })
    // Over another connection, which is opened after that.
    await using agent = new SyncedAgent(transportTo(server, { protocol }))
    await until('synced', agent, () => agent.synced)
    await until('one more', undefined, () => read === 2)
    assert.deepEqual([told, read], [1, 2])
    stream.resume!()
    await until('all', undefined, () => told === 21)
    stream.pause!()
    istiod.push({ clusters: ['a'] })
    await until('one more', undefined, () => read === 22)
    // What ends it is told when that has been taken.
    istiod.end(ENDINGS.dropped)
    stream.resume!()
    await until('the end', undefined, () => over)
    assert.equal(told, 22)
  })
