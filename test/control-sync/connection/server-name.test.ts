/** A control plane whose address is no name, over real TLS on loopback: what is asked for, and who is taken for it. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { MeshError } from '../../../core/errors.ts'
import { GrpcTransport } from '../../../control-sync/ads/grpc-stream.ts'
import type { ControlPlane } from '../../../control-sync/connection/control-plane.ts'
import type { CertificateClock } from '../../../control-sync/connection/verify-server.ts'
import { FakeIstiod } from '../../helpers/control-plane/fake-istiod.ts'
import { serveFakeIstiod, TOKEN } from '../../helpers/control-plane/fake-istiod-server.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { testCa, type TestCa } from '../../helpers/test-ca.ts'

const certificateClock: CertificateClock = { nowMs: () => Date.now(), clockIsWrong: false, seen: () => {} }
/** By its own check, as when the clock was never set. */
const lateClock: CertificateClock = { ...certificateClock, clockIsWrong: true }

/** 'in', or why not. */
async function come(address: string, ca: TestCa, over: Partial<ControlPlane> = {}): Promise<string> {
  const transport = new GrpcTransport({
    node: {
      id: 'sidecar~127.0.0.1~edge-1.edge~edge.svc.cluster.local',
      cluster: 'edge.edge',
      locality: { region: '', zone: '', subZone: '' },
      metadata: { NAMESPACE: 'edge', SERVICE_ACCOUNT: 'gateway' },
      userAgentVersion: '0',
    },
    identity: { current: () => undefined, watch: () => ({ [Symbol.dispose]: () => {} }) },
    clock: new SimClock(),
    onCertificateRefused: () => {},
    control: {
      addresses: [address],
      serverName: undefined,
      clusterId: 'Kubernetes',
      roots: () => Buffer.from(ca.rootsPem),
      token: () => TOKEN,
      ...over,
    },
  })
  const answer = Promise.withResolvers<string>()
  const stream = await transport.open({
    onResponse: () => answer.resolve('in'),
    onEnd: ({ code, message }: MeshError) => answer.resolve(`${code}: ${message}`),
  })
  stream.send({
    kind: 'cluster',
    withNode: true,
    subscribe: [],
    unsubscribe: [],
    known: new Map(),
    nonce: '',
    error: undefined,
  })
  try {
    return await answer.promise
  } finally {
    stream.close()
  }
}

for (const { host, shown } of [
  { host: '127.0.0.1', shown: '127.0.0.1' },
  { host: '::1', shown: '[::1]' },
]) {
  for (const [who, by] of [
    ['by node:tls', undefined],
    ['with a certificate clock', certificateClock],
    ['by our own check', lateClock],
  ] as const) {
    for (const { name, names, serverName, want } of [
      { name: 'the address is in the certificate', names: [host], serverName: undefined, want: /^in$/ },
      {
        name: "the certificate is istiod's, which has no addresses",
        names: ['istiod.istio-system.svc', 'istiod-remote.istio-system.svc'],
        serverName: undefined,
        want: /^in$/,
      },
      {
        name: 'neither',
        names: ['other.istio-system.svc', '192.0.2.1'],
        serverName: undefined,
        want: /^MESH_CONTROL_NAME: .*is not who it should be/,
      },
      {
        name: "another name is configured: istiod's does not do",
        names: ['istiod.istio-system.svc', host],
        serverName: 'hub.example',
        want: /^MESH_CONTROL_NAME: /,
      },
      { name: 'the configured name is there', names: ['hub.example'], serverName: 'hub.example', want: /^in$/ },
      { name: 'the configured name is an address', names: ['192.0.2.9'], serverName: '192.0.2.9', want: /^in$/ },
      {
        name: "the configured address is not there: istiod's name does not do",
        names: ['istiod.istio-system.svc'],
        serverName: '192.0.2.9',
        want: /^MESH_CONTROL_NAME: /,
      },
    ])
      test(`${shown}, ${who}: ${name}`, async () => {
        await using server = await serveFakeIstiod(new FakeIstiod(), { host: shown, dnsNames: names })
        assert.match(
          await come(`${shown}:${server.port}`, server.ca, { serverName, ...(by ? { certificateClock: by } : {}) }),
          want,
        )
      })
    test(`${shown}, ${who}: another root with the right names`, async () => {
      await using server = await serveFakeIstiod(new FakeIstiod(), {
        host: shown,
        dnsNames: [host, 'istiod.istio-system.svc'],
      })
      assert.match(
        await come(`${shown}:${server.port}`, testCa(), by ? { certificateClock: by } : {}),
        /^MESH_CONTROL_TLS: /,
      )
    })
  }
}
test("what the message says of an address whose certificate is somebody else's", async () => {
  await using server = await serveFakeIstiod(new FakeIstiod(), { dnsNames: ['other.istio-system.svc'] })
  assert.match(
    await come(`127.0.0.1:${server.port}`, server.ca, { certificateClock }),
    /is not who it should be: it is for .*DNS:other\.istio-system\.svc, not for 127\.0\.0\.1 or istiod\.istio-system\.svc$/,
  )
})
test('localhost, where a forwarded port is', async () => {
  await using server = await serveFakeIstiod(new FakeIstiod())
  assert.equal(
    await come(`localhost:${server.port}`, server.ca, { certificateClock, names: async () => ['127.0.0.1'] }),
    'in',
  )
})
test('a name that is looked up is the only one', async () => {
  await using server = await serveFakeIstiod(new FakeIstiod())
  assert.match(
    await come(`istiod.example:${server.port}`, server.ca, { certificateClock, names: async () => ['127.0.0.1'] }),
    /^MESH_CONTROL_NAME: /,
  )
})

for (const { address, serverName, want } of [
  { address: '127.0.0.1', serverName: undefined, want: false },
  { address: '127.0.0.1', serverName: '192.0.2.9', want: false },
  { address: '127.0.0.1', serverName: 'hub.example', want: 'hub.example' },
] as const)
  test(`server_name in the handshake with ${address}${serverName === undefined ? '' : ` as ${serverName}`}: ${want === false ? 'none' : want} (RFC 6066 §3)`, async (t) => {
    const ca = testCa()
    const own = ca.issue('istio-system', 'istiod', {
      dnsNames: ['istiod.istio-system.svc', 'hub.example', '192.0.2.9'],
    })
    const server = http2.createSecureServer({ key: own.keyPem, cert: own.chainPem }).listen(0, '127.0.0.1')
    server.on('tlsClientError', () => {})
    await once(server, 'listening')
    t.after(() => {
      server.close()
    })
    const asked = once(server, 'secureConnection') as Promise<[TLSSocket]>
    void come(`${address}:${(server.address() as AddressInfo).port}`, ca, { serverName, certificateClock })
    const [socket] = await asked
    assert.equal((socket as TLSSocket & { servername: string | false }).servername, want)
    socket.destroy()
  })
