/**
 * capture: transparent as docs/istio.md has it, with the rules of deploy/edge/meshlet-capture.nft, the sockets passed
 * to a meshlet with a user of its own, a real istiod, and another machine. In a network namespace of its own.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { once } from 'node:events'
import net from 'node:net'
import { until, type Finally } from '../../programs.ts'
import { App, serviceEntry, SIDECAR_LABEL } from '../rig/app.ts'
import { CAPTURE_LAUNCHER, giveToMeshlet, MESHLET_UID, setCaptureRules } from '../rig/capture.ts'
import { echo, EchoServer } from '../rig/echo.ts'
import { FAR_SERVICES, farIngress, HTTP_PORT, HTTP_VIP, startFarAgent, TCP_PORT, TCP_VIP } from '../rig/far-agent.ts'
import { peerAuthentication } from '../rig/inbound.ts'
import { certificateOf } from '../rig/istioctl.ts'
import { Istiod } from '../rig/istiod.ts'
import { MeshAgent, request, type Answer } from '../rig/mesh-agent.ts'
import { inOwnNetwork } from '../rig/network-namespace.ts'
import { HERE_IP, Outside } from '../rig/outside.ts'

inOwnNetwork(import.meta.filename, ['setpriv', 'nft'])

const SELF_VIP = '10.96.0.12'
/** In the same range, and of nobody in the mesh; the other machine has it. */
const UNKNOWN = '10.96.9.9'
const APP_PORT = 8080
/** Of an application here that is no service. */
const OTHER_PORT = 8081
const mtls = (mode: 'STRICT' | 'PERMISSIVE'): string =>
  peerAuthentication(mode).replace('namespace: edge', 'namespace: shop')

type Site = {
  readonly istiod: Istiod
  readonly near: MeshAgent
  readonly orders: App
  readonly app: App
  readonly other: App
  readonly outside: Outside
}

/**
 * Services behind a second agent and mTLS, nothing told of UNKNOWN; on this machine `app` at HERE_IP, and meshlet with
 * its sockets.
 */
async function site(t: Finally, { mesh = '', sparedUid = MESHLET_UID } = {}): Promise<Site> {
  const outside = await Outside.connect(t, [UNKNOWN])
  await outside.serve(UNKNOWN, { http: HTTP_PORT, tcp: TCP_PORT + 1 })
  setCaptureRules(t, { uid: sparedUid, inboundPorts: [APP_PORT, OTHER_PORT] })
  const orders = await App.start(t, 'orders', '127.0.0.1')
  const raw = await EchoServer.start(t)
  const app = await App.start(t, 'app', HERE_IP, APP_PORT)
  const other = await App.start(t, 'other', HERE_IP, OTHER_PORT)
  const istiod = await Istiod.create(t, { mesh })
  istiod.write(
    'services',
    FAR_SERVICES +
      serviceEntry('app', {
        port: APP_PORT,
        vip: SELF_VIP,
        endpoints: [{ address: HERE_IP, port: APP_PORT, labels: SIDECAR_LABEL, serviceAccount: 'client' }],
      }),
  )
  istiod.write('edge', farIngress(orders.port, raw.tcp))
  await istiod.start()
  await startFarAgent(t, istiod)
  const near = await MeshAgent.create(t, istiod, {
    name: 'near-1',
    namespace: 'shop',
    serviceAccount: 'client',
    app: 'app',
    ip: HERE_IP,
    rest: 'capture: transparent\n',
    launcher: CAPTURE_LAUNCHER,
  })
  giveToMeshlet(near)
  await near.start()
  await near.status('endpoints are there', (s) => s.config.resources['endpoint sets'] === 3)
  return { istiod, near, orders, app, other, outside }
}

const call = (address: string, port: number, name: string): Promise<Answer> =>
  request({ host: address, port, path: '/', headers: { host: name } })
const order = (): Promise<Answer> => call(HTTP_VIP, HTTP_PORT, 'orders.edge.svc.cluster.local')

/** What a TCP server says before it closes; '' when the connection is refused or cut. */
async function hear(address: string, port: number): Promise<string> {
  const socket = net.connect({ host: address, port })
  let said = ''
  socket
    .on('data', (d) => {
      said += String(d)
    })
    .on('error', () => {
      /* '' */
    })
    .setTimeout(5_000, () => {
      socket.destroy()
    })
  await once(socket, 'close')
  return said
}
const accepted = (near: MeshAgent): Promise<number> => near.metric('mesh_connections_accepted_total')

const logOf = (near: MeshAgent) => (): string => near.agent.process.log.slice(-3000)

test('capture: transparent with the sockets of systemd', { timeout: 120_000 }, async (t) => {
  const s = await site(t)
  await outbound(t, s)
  await inbound(t, s)
  await itselfAndRestart(t, s)
})

async function outbound(t: TestContext, { near, orders }: Site): Promise<void> {
  const log = logOf(near)
  await t.test('nothing is wrong, and the passed sockets are in use', async () => {
    const { problems, listeners, config } = await near.status(
      'the capturing ports are open',
      (s) => s.listeners.filter((l) => /:1500[16]$/.test(l.address) && l.state === 'listening').length === 2,
    )
    assert.deepEqual(problems, [], JSON.stringify(listeners))
    assert.ok(
      config.ignored.some((i) => i.example === 'virtualInbound' && i.field.includes('original_src')),
      JSON.stringify(config.ignored),
    )
    await until(
      'the log has it, too',
      () =>
        near.agent.process.log.match(/"evt":"listener\.open","listener":"virtual(Outbound|Inbound)".*"inherited":true/g)
          ?.length === 2,
      undefined,
      log,
    )
  })
  await t.test('HTTP to the address of a service: over mutual TLS to the other agent, in one connection', async () => {
    const before = await accepted(near)
    const answer = await order()
    assert.deepEqual([answer.status, answer.body], [200, 'orders'], log())
    assert.match(
      String(orders.seen.at(-1)?.headers['x-forwarded-client-cert']),
      /URI=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/client$/,
    )
    assert.equal(await accepted(near), before + 1)
  })
  await t.test('TCP to the address of a service', async () => {
    const echoed = await echo(`tcp://${TCP_VIP}:${TCP_PORT}`)
    assert.ok(echoed.ok, echoed.text + log())
    assert.deepEqual(echoed.fields.get('Proto'), ['TCP'])
  })
  await t.test(
    'ALLOW_ANY: what nobody in the mesh has is passed on to where it was going, over HTTP and TCP, and comes from meshlet only once',
    async () => {
      const before = await accepted(near)
      const answer = await call(UNKNOWN, HTTP_PORT, 'unknown.example')
      assert.deepEqual([answer.status, answer.body], [200, `outside, to ${HERE_IP}`], log())
      assert.equal(await hear(UNKNOWN, TCP_PORT + 1), `outside, to ${HERE_IP}`, log())
      assert.equal(await accepted(near), before + 2)
    },
  )
}

async function inbound(t: TestContext, { istiod, near, app, other, outside }: Site): Promise<void> {
  const log = logOf(near)
  await t.test(
    'a client that comes to the capturing ports themselves is refused, and nothing goes round in circles',
    async () => {
      const before = await accepted(near)
      assert.deepEqual(
        await Promise.all([
          call('127.0.0.1', 15_001, 'orders.edge.svc.cluster.local'),
          call(HERE_IP, 15_006, 'app'),
        ]).then((a) => a.map((one) => one.status)),
        [0, 0],
      )
      assert.equal(await accepted(near), before + 2)
    },
  )
  await t.test('inbound, PERMISSIVE: plain text and the mesh both reach the application', async () => {
    istiod.write('mtls', mtls('PERMISSIVE'))
    const plain = await outside.call(APP_PORT)
    assert.deepEqual([plain.status, plain.body], [200, 'app'], log())
    // Its client has been replaced by meshlet, from the address that istiod's inbound clusters name.
    assert.equal(app.from, '127.0.0.6')
    const mesh = await outside.call(APP_PORT, await certificateOf(istiod, 'edge', 'gateway'))
    assert.deepEqual([mesh.status, mesh.body], [200, 'app'], log())
  })
  await t.test('inbound, STRICT: plain text is refused, the mesh is served and known by name', async () => {
    istiod.write('mtls', mtls('STRICT'))
    const identity = await certificateOf(istiod, 'edge', 'gateway')
    await until('plain text is refused', async () => (await outside.call(APP_PORT)).status === 0)
    const seen = app.seen.length
    assert.equal((await outside.call(APP_PORT)).status, 0)
    assert.equal(app.seen.length, seen)
    await until(
      'the log has it',
      () => /"evt":"connection\.refused","listener":"virtualInbound"/.test(near.agent.process.log),
      undefined,
      log,
    )
    const mesh = await outside.call(APP_PORT, identity)
    assert.deepEqual([mesh.status, mesh.body], [200, 'app'], log())
    assert.match(
      String(app.seen.at(-1)?.headers['x-forwarded-client-cert']),
      /URI=spiffe:\/\/cluster\.local\/ns\/edge\/sa\/gateway$/,
    )
  })
  await t.test('inbound to a port that is no service: passed on all the same, under the same mTLS mode', async () => {
    assert.equal((await outside.call(OTHER_PORT)).status, 0)
    assert.equal(other.seen.length, 0)
    const mesh = await outside.call(OTHER_PORT, await certificateOf(istiod, 'edge', 'gateway'))
    assert.deepEqual([mesh.status, mesh.body, other.from], [200, 'other', '127.0.0.6'], log())
  })
}

async function itselfAndRestart(t: TestContext, { near, app }: Site): Promise<void> {
  const log = logOf(near)
  await t.test('a service whose endpoint is this machine: out, and in again over mutual TLS', async () => {
    const before = await accepted(near)
    const answer = await call(SELF_VIP, APP_PORT, 'app.shop.svc.cluster.local')
    assert.deepEqual([answer.status, answer.body], [200, 'app'], log())
    assert.match(
      String(app.seen.at(-1)?.headers['x-forwarded-client-cert']),
      /By=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/client;.*URI=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/client$/,
    )
    assert.equal(await accepted(near), before + 2)
  })
  await t.test(
    'over a restart of the agent no connection is refused: who comes meanwhile waits for the next one',
    async () => {
      const pids = (): number[] => [...near.agent.process.log.matchAll(/^started (\d+)$/gm)].map((m) => Number(m[1]))
      const [first] = pids() as [number]
      const answers: Answer[] = []
      let over = false
      const busy = Promise.all(
        [1, 2, 3].map(async () => {
          while (!over) answers.push(await order())
        }),
      )
      await until('there is traffic', () => answers.length > 50)
      process.kill(first, 'SIGTERM')
      await until('the first agent is gone', () => !fs.existsSync(`/proc/${first}`))
      // Nobody accepts now, and the kernel takes the connections all the same.
      answers.push(...(await Promise.all(Array.from({ length: 20 }, order))))
      assert.equal(pids().length, 2)
      await near.status('the second agent serves', (s) => s.state === 'ready')
      over = true
      await busy
      assert.deepEqual(
        answers.filter((a) => a.status !== 200),
        [],
        log(),
      )
    },
  )
}

test('REGISTRY_ONLY: what nobody in the mesh has is refused', { timeout: 120_000 }, async (t) => {
  const { near } = await site(t, { mesh: 'outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n' })
  assert.equal((await order()).status, 200)
  assert.equal((await call(UNKNOWN, HTTP_PORT, 'unknown.example')).status, 502)
  assert.equal(await hear(UNKNOWN, TCP_PORT + 1), '')
  await until(
    'it is told',
    () => /"evt":"connection\.refused","listener":"virtualOutbound".*BlackHoleCluster/.test(near.agent.process.log),
    5_000,
    () => near.agent.process.log.slice(-3000),
  )
})

test(
  'rules that spare another user: what would go in circles ends at once, and is told',
  { timeout: 120_000 },
  async (t) => {
    const { near } = await site(t, { sparedUid: MESHLET_UID + 1 })
    const before = await accepted(near)
    // By which end is heard of first: the connection that is made is a loop, or the one that was made is cut.
    const { status } = await call(UNKNOWN, HTTP_PORT, 'unknown.example')
    assert.ok([503, 508].includes(status), String(status))
    assert.equal(await hear(UNKNOWN, TCP_PORT + 1), '')
    // Some rounds are made before both ends of the first have been heard of; limits.maxConnections, 10,000, is far.
    assert.ok((await accepted(near)) <= before + 200, near.agent.process.log.slice(-3000))
    await until(
      'it is told',
      () => near.agent.process.log.includes('MESH_CAPTURE_LOOP'),
      5_000,
      () => near.agent.process.log.slice(-3000),
    )
  },
)
