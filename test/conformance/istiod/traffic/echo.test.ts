/**
 * Istio's echo behind real mutual TLS, with certificates of the same istiod: meshlet as the client's side, as the
 * server's side, and as both.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { freePorts } from '../../../../tools/free-ports.ts'
import { serviceEntry, SIDECAR_LABEL } from '../rig/app.ts'
import { asMesh, echo, EchoServer, type Echoed } from '../rig/echo.ts'
import { ingressYaml, peerAuthentication } from '../rig/inbound.ts'
import { certificateFolder } from '../rig/istioctl.ts'
import { Istiod } from '../rig/istiod.ts'
import { CLOUD, MeshAgent, NODE_IP } from '../rig/mesh-agent.ts'

function field(echoed: Echoed, name: string): string | undefined {
  assert.ok(echoed.ok, echoed.text)
  assert.ok(echoed.fields.has(name), echoed.text)
  return echoed.fields.get(name)?.join()
}

test('outbound: from plain text here to mutual TLS there', { timeout: 120_000 }, async (t) => {
  const istiod = await Istiod.create(t)
  await istiod.start()
  const server = await EchoServer.start(t, await certificateFolder(t, istiod, 'shop', 'echo'))
  const [http, grpc, tcp, imposter] = (await freePorts(4)) as [number, number, number, number]
  const sidecar = { address: '127.0.0.1', labels: SIDECAR_LABEL, serviceAccount: 'echo' }
  istiod.write(
    'echo',
    [
      serviceEntry('http', { port: http, endpoints: [{ ...sidecar, port: server.http }] }),
      serviceEntry('grpc', { port: grpc, protocol: 'GRPC', endpoints: [{ ...sidecar, port: server.grpc }] }),
      serviceEntry('tcp', { port: tcp, protocol: 'TCP', endpoints: [{ ...sidecar, port: server.tcp }] }),
      serviceEntry('imposter', {
        port: imposter,
        endpoints: [{ ...sidecar, port: server.http, serviceAccount: 'somebody-else' }],
      }),
    ].join(''),
  )
  const edge = await MeshAgent.create(t, istiod)
  await edge.start()
  const { certificate } = await edge.status('routes are there', (s) => s.config.resources['endpoint sets'] === 4)
  const serial = BigInt(`0x${certificate!.serial}`).toString()

  await t.test("HTTP: the server sees our certificate, the mesh's server name and an ALPN that it knows", async () => {
    const echoed = await echo(`http://127.0.0.1:${http}/a`, ['-H', 'Host: http.shop.svc.cluster.local'])
    assert.deepEqual(
      ['Proto', 'Alpn', 'Sni', 'ClientCertSerialNumber', 'Host', 'URL'].map((n) => field(echoed, n)),
      [
        'HTTP/1.1',
        'http/1.1',
        `outbound_.${http}_._.http.shop.svc.cluster.local`,
        serial,
        'http.shop.svc.cluster.local',
        '/a',
      ],
    )
  })
  await t.test('gRPC', async () => {
    const echoed = await echo(`grpc://127.0.0.1:${grpc}`, ['-H', `Host: grpc.shop.svc.cluster.local:${grpc}`])
    assert.deepEqual(
      ['Proto', 'Echo'].map((n) => field(echoed, n)),
      ['GRPC', 'HelloWorld'],
    )
  })
  await t.test('TCP', async () => {
    const echoed = await echo(`tcp://127.0.0.1:${tcp}`)
    assert.equal(field(echoed, 'Proto'), 'TCP')
  })
  await t.test('an endpoint that proves another identity than the mesh expects is not spoken to', async () => {
    const answer = await edge.get(`http://imposter.shop.svc.cluster.local:${imposter}/`)
    assert.equal(answer.status, 503)
    assert.match(answer.body, /MESH_PEER_MISMATCH/)
  })
})

async function startInbound(t: TestContext) {
  const istiod = await Istiod.create(t)
  const server = await EchoServer.start(t)
  const [http, grpc, tcp] = (await freePorts(3)) as [number, number, number]
  istiod.write(
    'edge',
    ingressYaml({
      http: { port: http, protocol: 'HTTP', to: server.http },
      grpc: { port: grpc, protocol: 'GRPC', to: server.grpc },
      tcp: { port: tcp, protocol: 'TCP', to: server.tcp },
    }) + peerAuthentication('STRICT'),
  )
  await istiod.start()
  const edge = await MeshAgent.create(t, istiod)
  await edge.start()
  await edge.status('all ports are open', ({ listeners }) =>
    [http, grpc, tcp].every((port) =>
      listeners.some((l) => l.address === `${NODE_IP}:${port}` && l.state === 'listening'),
    ),
  )
  const shop = await certificateFolder(t, istiod, 'shop', 'client')
  const name = (port: number): string => `outbound_.${port}_._.edge.edge.svc.cluster.local`
  return { server, http, tcp, shop, name }
}

test('inbound: from mutual TLS there to plain text here, STRICT', { timeout: 120_000 }, async (t) => {
  const { server, http, tcp, shop, name } = await startInbound(t)
  await t.test("HTTP/1.1 with Istio's ALPN names: the application is told who called", async () => {
    const echoed = await echo(
      `https://${NODE_IP}:${http}/b`,
      asMesh(shop, ['istio-http/1.1', 'istio', 'http/1.1'], name(http)),
    )
    assert.deepEqual(
      ['Proto', 'URL'].map((n) => field(echoed, n)),
      ['HTTP/1.1', '/b'],
    )
    assert.match(
      field(echoed, 'RequestHeader') ?? '',
      /X-Forwarded-Client-Cert:By=spiffe:\/\/cluster\.local\/ns\/edge\/sa\/gateway;Hash=[0-9a-f]{64};Subject="";URI=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/client/,
    )
  })
  await t.test('HTTP/2', async () => {
    const echoed = await echo(`https://${NODE_IP}:${http}/b`, [
      '--http2',
      ...asMesh(shop, ['istio-h2', 'istio', 'h2'], name(http)),
    ])
    assert.equal(field(echoed, 'URL'), '/b')
  })
  await t.test('TCP', async () => {
    const echoed = await echo(`tcp://${NODE_IP}:${tcp}`, asMesh(shop, ['istio'], name(tcp)))
    assert.equal(field(echoed, 'Proto'), 'TCP')
  })
  await t.test('plain text, no certificate and a certificate of another root reach nobody', async () => {
    const other = await Istiod.create(t)
    await other.start()
    const stranger = await certificateFolder(t, other, 'shop', 'client')
    const before = server.process.log.split('HTTP Request').length
    for (const [what, args, url] of [
      ['plain text', [], `http://${NODE_IP}:${http}`],
      ['no certificate', ['--insecure-skip-verify'], `https://${NODE_IP}:${http}`],
      ['another root', asMesh(stranger, ['istio-http/1.1', 'http/1.1'], name(http)), `https://${NODE_IP}:${http}`],
      ['another root, TCP', asMesh(stranger, ['istio'], name(tcp)), `tcp://${NODE_IP}:${tcp}`],
    ] as const) {
      const echoed = await echo(url, args)
      assert.equal(echoed.ok, false, `${what}: ${echoed.text}`)
    }
    assert.equal(server.process.log.split('HTTP Request').length, before, 'the application has seen none of them')
  })
})

test(
  'meshlet on both sides: plain text, mutual TLS between the agents, plain text',
  { timeout: 120_000 },
  async (t) => {
    const istiod = await Istiod.create(t)
    const server = await EchoServer.start(t)
    const [http, tcp] = (await freePorts(2)) as [number, number]
    istiod.write(
      'edge',
      ingressYaml(
        {
          http: { port: http, protocol: 'HTTP', to: server.http },
          tcp: { port: tcp, protocol: 'TCP', to: server.tcp },
        },
        '~/*',
      ) + peerAuthentication('STRICT'),
    )
    await istiod.start()
    const edge = await MeshAgent.create(t, istiod)
    await edge.start()
    const cloud = await MeshAgent.create(t, istiod, { ...CLOUD })
    await cloud.start()

    await t.test('HTTP', async () => {
      const answer = await cloud.until(`http://edge.edge.svc.cluster.local:${http}/c`, (a) => a.status === 200)
      assert.match(
        answer.body,
        /^RequestHeader=X-Forwarded-Client-Cert:By=spiffe:\/\/cluster\.local\/ns\/edge\/sa\/gateway;Hash=[0-9a-f]{64};Subject="";URI=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/client$/m,
      )
    })
    await t.test('TCP', async () => {
      const echoed = await echo(`tcp://127.0.0.1:${tcp}`)
      assert.equal(field(echoed, 'Proto'), 'TCP')
    })
  },
)
