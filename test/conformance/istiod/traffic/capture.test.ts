/**
 * Applications that know nothing of meshlet connect to a service's own address: what docs/istio.md offers for that,
 * against a real istiod, and what becomes of Istio's interception modes REDIRECT and, without the sockets for it,
 * TPROXY. In a network namespace of its own.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { App, serviceEntry, SIDECAR_LABEL } from '../rig/app.ts'
import { echo, EchoServer } from '../rig/echo.ts'
import { FAR_SERVICES, farIngress, HTTP_PORT, HTTP_VIP, startFarAgent, TCP_PORT, TCP_VIP } from '../rig/far-agent.ts'
import { edgeEntry, edgeService, peerAuthentication, plainCall, meshCall } from '../rig/inbound.ts'
import { certificateFolder, certificateOf } from '../rig/istioctl.ts'
import { Istiod } from '../rig/istiod.ts'
import { MeshAgent, NODE_IP, request, type Answer } from '../rig/mesh-agent.ts'
import { inOwnNetwork, shell } from '../rig/network-namespace.ts'
import { until, type Finally } from '../../programs.ts'

inOwnNetwork(import.meta.filename)

const ECHO_VIP = '10.96.0.12'
/** In the same range, but nobody's. */
const UNKNOWN_VIP = '10.96.0.99'
const ECHO_PORT = 8080

type Site = { readonly istiod: Istiod; readonly app: App; readonly near: MeshAgent; readonly serial: string }

/**
 * Behind SERVING_IP and STRICT mTLS: `app` over HTTP, Istio's echo over TCP; Istio's echo with mTLS of its own. Before
 * `near`: nothing yet but the agent.
 * @param mesh further mesh.yaml
 * @param yaml further Istio YAML
 */
async function site(t: Finally, { mesh = '', yaml = '' } = {}): Promise<Site> {
  const app = await App.start(t, 'app', '127.0.0.1')
  const plain = await EchoServer.start(t)
  const istiod = await Istiod.create(t, { mesh })
  await istiod.start()
  const secured = await EchoServer.start(t, await certificateFolder(t, istiod, 'shop', 'echo'))
  istiod.write(
    'services',
    FAR_SERVICES +
      serviceEntry('echo', {
        port: ECHO_PORT,
        vip: ECHO_VIP,
        endpoints: [{ address: '127.0.0.1', port: secured.http, labels: SIDECAR_LABEL, serviceAccount: 'echo' }],
      }),
  )
  istiod.write('edge', farIngress(app.port, plain.tcp) + yaml)
  await startFarAgent(t, istiod)
  const near = await MeshAgent.create(t, istiod, {
    name: 'near-1',
    namespace: 'shop',
    serviceAccount: 'client',
    app: 'near',
    ip: '127.0.0.8',
  })
  await near.start()
  const { certificate } = await near.status('endpoints are there', (s) => s.config.resources['endpoint sets'] === 3)
  return { istiod, app, near, serial: BigInt(`0x${certificate!.serial}`).toString() }
}

/** As an application does that has looked the name up. */
const call = (address: string, port: number, name: string): Promise<Answer> =>
  request({ host: address, port, path: '/', headers: { host: name } })

async function reachesAll({ app, near, serial }: Site): Promise<void> {
  // istiod tells of endpoints before it tells of routes, and of what was written after its start in a push of its own.
  await until(
    'the routes are there',
    async () =>
      (await call(HTTP_VIP, HTTP_PORT, 'orders.edge.svc.cluster.local')).status === 200 &&
      (await call(ECHO_VIP, ECHO_PORT, `echo.shop.svc.cluster.local:${ECHO_PORT}`)).status === 200,
    undefined,
    () => near.agent.process.log.slice(-3000),
  )
  const seenBefore = app.seen.length
  const answer = await call(HTTP_VIP, HTTP_PORT, 'orders.edge.svc.cluster.local')
  assert.deepEqual([answer.status, answer.body], [200, 'app'], near.agent.process.log.slice(-3000))
  assert.equal(app.seen.length, seenBefore + 1)
  assert.match(
    String(app.seen.at(-1)?.headers['x-forwarded-client-cert']),
    /URI=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/client$/,
  )
  const echoed = await echo(`http://${ECHO_VIP}:${ECHO_PORT}/`, [
    '-H',
    `Host: echo.shop.svc.cluster.local:${ECHO_PORT}`,
  ])
  assert.ok(echoed.ok, echoed.text)
  assert.deepEqual(echoed.fields.get('ClientCertSerialNumber'), [serial])
}

test('HTTP to the addresses of services, redirected to the HTTP proxy', { timeout: 120_000 }, async (t) => {
  const at = await site(t)
  assert.equal(
    (await call(HTTP_VIP, HTTP_PORT, 'orders.edge.svc.cluster.local')).status,
    0,
    'nobody is there without the rule',
  )
  shell(
    `iptables -t nat -A OUTPUT -p tcp -d 10.96.0.0/24 -m multiport --dports ${HTTP_PORT},${ECHO_PORT} -j REDIRECT --to-ports ${at.near.proxyPort}`,
  )
  t.after(() => {
    shell('iptables -t nat -F OUTPUT')
  })
  await t.test("an application reaches a second agent, and Istio's echo, over mutual TLS", () => reachesAll(at))
  await t.test('a name that the mesh does not know is refused: PassthroughCluster has no way to go', async () => {
    const answer = await call(UNKNOWN_VIP, HTTP_PORT, 'unknown.example')
    assert.equal(answer.status, 503)
    assert.match(answer.body, /PassthroughCluster/)
  })
})

test(
  'HTTP and TCP to the addresses of services, redirected to the same ports on 127.0.0.1',
  { timeout: 120_000 },
  async (t) => {
    const at = await site(t, { mesh: 'outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n' })
    shell('iptables -t nat -A OUTPUT -p tcp -d 10.96.0.0/24 -j DNAT --to-destination 127.0.0.1')
    t.after(() => {
      shell('iptables -t nat -F OUTPUT')
    })
    await t.test('HTTP', () => reachesAll(at))
    await t.test('TCP', async () => {
      const echoed = await echo(`tcp://${TCP_VIP}:${TCP_PORT}`)
      assert.ok(echoed.ok, echoed.text)
      assert.deepEqual(echoed.fields.get('Proto'), ['TCP'])
    })
    await t.test('a name that the mesh does not know, in REGISTRY_ONLY: BlackHoleCluster', async () => {
      assert.equal((await call(UNKNOWN_VIP, HTTP_PORT, 'unknown.example')).status, 502)
    })
  },
)

/** Without iptables: the addresses are made the machine's own, and istiod is asked for listeners there. */
const egress = `---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: near, namespace: shop}
spec:
  workloadSelector: {labels: {app: near}}
  egress:
  - {port: {number: ${HTTP_PORT}, protocol: HTTP, name: http}, bind: ${HTTP_VIP}, hosts: ["edge/orders.edge.svc.cluster.local"]}
  - {port: {number: ${TCP_PORT}, protocol: TCP, name: tcp}, bind: ${TCP_VIP}, hosts: ["edge/raw.edge.svc.cluster.local"]}
  - {port: {number: ${ECHO_PORT}, protocol: HTTP, name: http}, bind: ${ECHO_VIP}, hosts: ["shop/echo.shop.svc.cluster.local"]}
`
test(
  'a Sidecar whose egress listeners are bound to the addresses of services, which are routed to this machine',
  { timeout: 120_000 },
  async (t) => {
    shell('ip route add local 10.96.0.0/24 dev lo')
    t.after(() => {
      shell('ip route del local 10.96.0.0/24 dev lo')
    })
    const at = await site(t, { yaml: egress })
    await at.near.status(
      'its ports are open',
      (s) => s.listeners.filter((l) => l.address.startsWith('10.96.0.') && l.state === 'listening').length === 3,
    )
    await t.test('HTTP', () => reachesAll(at))
    await t.test('TCP', async () => {
      const echoed = await echo(`tcp://${TCP_VIP}:${TCP_PORT}`)
      assert.ok(echoed.ok, echoed.text)
    })
  },
)

const MARKED = ['ip rule add fwmark 1 lookup 100', 'ip route add local 0.0.0.0/0 dev lo table 100']
const marked = (to: string, port: number): string[] => [
  `iptables -t mangle -A OUTPUT -p tcp ${to} -j MARK --set-mark 1`,
  `iptables -t mangle -A PREROUTING -p tcp ${to} -j TPROXY --on-port ${port} --tproxy-mark 1`,
]
const INBOUND = `-d ${NODE_IP} --dport ${ECHO_PORT}`

async function startCaptured(t: TestContext, capture: string) {
  const app = await App.start(t, 'app', NODE_IP)
  const istiod = await Istiod.create(t)
  istiod.write(
    'services',
    serviceEntry('orders', { port: HTTP_PORT, vip: HTTP_VIP, endpoints: [app] }) +
      serviceEntry('raw', { port: TCP_PORT, protocol: 'TCP', vip: TCP_VIP, endpoints: [app] }),
  )
  istiod.write(
    'edge',
    edgeService({ http: { port: ECHO_PORT, protocol: 'HTTP' } }) + edgeEntry + peerAuthentication('PERMISSIVE'),
  )
  await istiod.start()
  const edge = await MeshAgent.create(t, istiod, { rest: `capture: ${capture}\n` })
  await edge.start()
  return { app, istiod, edge }
}
type Captured = Awaited<ReturnType<typeof startCaptured>>

async function nodeIsCaptured(t: TestContext, { edge }: Captured, mode: string): Promise<void> {
  await t.test('istiod takes the node for one whose traffic is captured', async () => {
    const { node } = await edge.status('the listeners are there', (s) => s.config.resources['listeners'] === 6)
    assert.match(node, /^sidecar~/)
    const dump = (await edge.agent.get('/config_dump'))!.text
    assert.match(dump, new RegExp(`"INTERCEPTION_MODE":\\s*"${mode}"`))
    const { configs } = JSON.parse(dump) as {
      configs: readonly {
        dynamic_listeners?: readonly {
          name: string
          active_state: { listener: { use_original_dst?: boolean; transparent?: boolean; bind_to_port?: boolean } }
        }[]
      }[]
    }
    const listeners = new Map(
      configs.flatMap((c) => c.dynamic_listeners ?? []).map((l) => [l.name, l.active_state.listener]),
    )
    assert.deepEqual(
      [
        listeners.get('virtualOutbound')?.use_original_dst,
        listeners.get('virtualOutbound')?.transparent ?? false,
        listeners.has('virtualInbound'),
      ],
      [true, mode === 'TPROXY', true],
    )
    assert.equal(listeners.get(`0.0.0.0_${HTTP_PORT}`)?.bind_to_port, false)
  })
}

/** `transparent` without the sockets that it needs; capture-tproxy.test.ts has the same with them. */
for (const { capture, mode, rules, undo, why } of [
  {
    capture: 'redirect',
    mode: 'REDIRECT',
    why: /destination of a redirected connection cannot be learnt/,
    rules: [
      'iptables -t nat -A OUTPUT -p tcp -d 10.96.0.0/24 -j REDIRECT --to-ports 15001',
      `iptables -t nat -A OUTPUT -p tcp ${INBOUND} -j REDIRECT --to-ports 15006`,
    ],
    undo: ['iptables -t nat -F OUTPUT'],
  },
  {
    capture: 'transparent',
    mode: 'TPROXY',
    why: /no socket was passed for 0\.0\.0\.0:15001 and 0\.0\.0\.0:15006/,
    rules: [...MARKED, ...marked('-d 10.96.0.0/24', 15001), ...marked(INBOUND, 15006)],
    undo: ['iptables -t mangle -F', 'ip rule del fwmark 1 lookup 100', 'ip route flush table 100'],
  },
]) {
  test(
    `capture: ${capture} cannot be served: it is said, and what is redirected reaches nobody`,
    { timeout: 120_000 },
    async (t) => {
      const captured = await startCaptured(t, capture)
      const { app, istiod, edge } = captured
      await nodeIsCaptured(t, captured, mode)
      await t.test('status, log and config check say that it cannot be done', async () => {
        const { problems } = await edge.status('a status')
        assert.match(problems.find((p) => p.code === 'MESH_CAPTURE_UNAVAILABLE')?.text ?? '', why)
        assert.match(edge.agent.process.log, /"evt":"config\.capture".*MESH_CAPTURE_UNAVAILABLE/)
        const { code, out } = await edge.agent.cli(['config', 'check', '--config', edge.agent.configFile])
        assert.equal(code, 0)
        // Which sockets the service will have is nothing that a command line knows.
        if (capture === 'redirect') assert.match(out, why)
        else assert.doesNotMatch(out, /capture/)
      })
      await t.test('outbound, HTTP and TCP, known and unknown: nobody is reached', async () => {
        shell(...rules)
        t.after(() => {
          shell(...undo)
        })
        const answers = await Promise.all([
          call(HTTP_VIP, HTTP_PORT, 'orders.shop.svc.cluster.local'),
          call(TCP_VIP, TCP_PORT, 'x'),
          call(UNKNOWN_VIP, HTTP_PORT, 'unknown.example'),
        ])
        assert.deepEqual(
          answers.map((a) => a.status),
          [0, 0, 0],
        )
      })
      await t.test('inbound, plain and over mutual TLS: nobody is reached', async () => {
        assert.equal((await plainCall(ECHO_PORT, '/')).status, 0)
        assert.equal((await meshCall(await certificateOf(istiod, 'shop', 'client'), ECHO_PORT, '/')).status, 0)
        assert.equal(app.seen.length, 0)
        // Of TPROXY the kernel lets nothing come this far.
        const refused = (): string =>
          ['virtualOutbound', 'virtualInbound']
            .filter((name) => edge.agent.process.log.includes(`"evt":"connection.refused","listener":"${name}"`))
            .join()
        await until(
          'it is told of which',
          () => refused() === (mode === 'REDIRECT' ? 'virtualOutbound,virtualInbound' : ''),
          undefined,
          refused,
        )
      })
    },
  )
}
