/**
 * What a running istiod was seen to do (its answers, refusals and pushes), and what an agent makes of each. The rest is
 * in test/control-sync/ads/istiod-*.test.ts.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { freePorts } from '../../../../tools/free-ports.ts'
import { sleep } from '../../programs.ts'
import { App, serviceEntry } from '../rig/app.ts'
import { Istiod, type SyncStatus } from '../rig/istiod.ts'
import { MeshAgent, request } from '../rig/mesh-agent.ts'

const DAY_SEC = 86_400
/** istiod notices a change of its files within half a second, and pushes 0.1 s later. */
const LONGER_THAN_A_PUSH_MS = 1_500

const url = (name: string, port: number): string => `http://${name}.shop.svc.cluster.local:${port}/`
/** Four kinds (names are asked for only where DNS is served); three where there is no endpoint to ask for. */
const isDone = (s: SyncStatus, kinds: number): boolean =>
  Object.keys(s.resources ?? {}).length === kinds &&
  Object.values(s.resources ?? {}).every((r) => r.sent !== undefined && r.sent === r.acked)
const synced = (istiod: Istiod, agents: number, kinds = 4): Promise<unknown> =>
  istiod.until('all is acknowledged', async () => {
    const all = await istiod.syncz()
    return all.length === agents && all.every((s) => isDone(s, kinds))
  })
const changed = (edge: MeshAgent, kind: string): Promise<number> =>
  edge.metric('mesh_config_resources_changed_total', `kind="${kind}"`)
const KINDS = ['cluster', 'endpoint', 'listener', 'route']
/** How many resources of each kind were applied meanwhile. */
async function appliedBy(edge: MeshAgent, what: () => Promise<void>): Promise<Readonly<Record<string, number>>> {
  const all = (): Promise<number[]> => Promise.all(KINDS.map((kind) => changed(edge, kind)))
  const before = await all()
  await what()
  const after = await all()
  return Object.fromEntries(KINDS.map((kind, i) => [kind, after[i]! - before[i]!]))
}

async function startPushes(t: TestContext) {
  const [port] = (await freePorts(1)) as [number]
  const [one, two] = [await App.start(t, 'one'), await App.start(t, 'two', '127.0.0.3')]
  const istiod = await Istiod.create(t)
  istiod.write('one', serviceEntry('one', { port, vip: '10.96.0.1', endpoints: [one] }))
  await istiod.start()
  const edge = await MeshAgent.create(t, istiod)
  await edge.start()
  await edge.until(url('one', port), (a) => a.body === 'one')
  await synced(istiod, 1)
  return { port, one, two, istiod, edge }
}
type Pushes = Awaited<ReturnType<typeof startPushes>>

test('pushes', { timeout: 180_000 }, async (t) => {
  const rig = await startPushes(t)
  await changesOfServices(t, rig)
  await changesOfTheMesh(t, rig)
  await twoOfOneNode(t, rig)
})

async function changesOfServices(t: TestContext, { port, one, two, istiod, edge }: Pushes): Promise<void> {
  await t.test(
    'a service more: istiod sends listeners, tables and three clusters again, and what is new is applied',
    async () => {
      const applied = await appliedBy(edge, async () => {
        istiod.write('two', serviceEntry('two', { port, vip: '10.96.0.2', endpoints: [two] }))
        await edge.until(url('two', port), (a) => a.body === 'two')
        await synced(istiod, 1)
      })
      // Both tables that name it: the port's and the proxy's.
      assert.deepEqual(applied, { cluster: 1, endpoint: 1, listener: 0, route: 2 })
    },
  )
  await t.test(
    'YAML that does not parse: istiod keeps what it had, pushes nothing, and the correction comes',
    async () => {
      const applied = await appliedBy(edge, async () => {
        istiod.write('two', 'apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: [\n')
        await sleep(LONGER_THAN_A_PUSH_MS)
      })
      assert.deepEqual(applied, { cluster: 0, endpoint: 0, listener: 0, route: 0 })
      assert.equal((await edge.get(url('two', port))).body, 'two')
      istiod.write('two', serviceEntry('two', { port, vip: '10.96.0.2', endpoints: [one] }))
      await edge.until(url('two', port), (a) => a.body === 'one')
    },
  )
}

async function changesOfTheMesh(t: TestContext, { port, istiod, edge }: Pushes): Promise<void> {
  await t.test('another mesh configuration: everything comes again, and only what it changes is applied', async () => {
    assert.equal(
      (await edge.get('http://unknown.example/')).status,
      503,
      'ALLOW_ANY: PassthroughCluster, without a destination',
    )
    const applied = await appliedBy(edge, async () => {
      istiod.mesh('outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n')
      await edge.until('http://unknown.example/', (a) => a.status === 502)
      await synced(istiod, 1)
    })
    assert.deepEqual(applied, { cluster: 0, endpoint: 0, listener: 0, route: 2 })
    assert.equal((await edge.get(url('one', port))).body, 'one')
  })
  await t.test('an access log, as many meshes have one: understood', async () => {
    istiod.mesh('accessLogFile: /dev/stdout\n')
    await edge.until('http://unknown.example/', (a) => a.status === 503)
    await synced(istiod, 1)
    const { problems, config } = await edge.status('a status')
    assert.deepEqual(
      [problems, config.rejected, config.ignored.filter((i) => i.field.includes('access_log'))],
      [[], [], []],
    )
    assert.equal((await edge.get(url('one', port))).body, 'one')
  })
}

async function twoOfOneNode(t: TestContext, { port, one, two, istiod, edge }: Pushes): Promise<void> {
  await t.test(
    'two processes of one node, as during a replacement: both are served whole, and every push reaches both',
    async () => {
      const twin = await MeshAgent.create(t, istiod)
      // The ports of services are the first one's; its own proxy and admin port are another's.
      await twin.agent.start()
      await synced(istiod, 2)
      istiod.write('two', serviceEntry('two', { port, vip: '10.96.0.2', endpoints: [two] }))
      for (const agent of [edge, twin]) await agent.until(url('two', port), (a) => a.body === 'two')
      await twin.kill()
      await synced(istiod, 1)
      istiod.write('two', serviceEntry('two', { port, vip: '10.96.0.2', endpoints: [one] }))
      await edge.until(url('two', port), (a) => a.body === 'one')
    },
  )
}

for (const [mode, status] of [
  ['ALLOW_ANY', 503],
  ['REGISTRY_ONLY', 502],
] as const) {
  test(
    `${mode}: a route table that nobody knows is answered with one for everything, and waited for no longer`,
    { timeout: 60_000 },
    async (t) => {
      const [port] = (await freePorts(1)) as [number]
      const istiod = await Istiod.create(t, { mesh: `outboundTrafficPolicy: {mode: ${mode}}\n` })
      await istiod.start()
      const edge = await MeshAgent.create(t, istiod, {
        listeners: [`{name: mine, kind: http, port: ${port}, routes: "4711"}`],
      })
      await edge.start()
      assert.equal((await request({ port, path: '/', headers: { host: 'anything.example' } })).status, status)
      assert.deepEqual(await edge.problems(), [])
    },
  )
}

test('what an istiod does not take', { timeout: 180_000 }, async (t) => {
  const istiod = await Istiod.create(t)
  await istiod.start()

  await t.test('gzip: it ends the stream, and the agent goes on without', async () => {
    const edge = await MeshAgent.create(t, istiod, { name: 'gzip-1', control: ['compression: gzip'] })
    await edge.start()
    assert.match(edge.agent.process.log, /MESH_CONTROL_COMPRESSION/)
    await edge.kill()
  })
  await t.test('AUTO_REGISTER_GROUP without Kubernetes: ignored', async () => {
    const edge = await MeshAgent.create(t, istiod, { name: 'auto-1', node: ['metadata: {AUTO_REGISTER_GROUP: gw}'] })
    await edge.start()
    assert.deepEqual(await edge.problems(), [])
    await edge.kill()
  })
  await t.test('a node name with a tilde, which separates the parts of an id: refused, and it is said', async () => {
    const edge = await MeshAgent.create(t, istiod, { name: 'a~b' })
    edge.agent.launch()
    const { problems } = await edge.status(
      'refused',
      (s) => s.problems.some((p) => p.code === 'MESH_CONTROL_REFUSED'),
      60_000,
    )
    assert.match(problems.find((p) => p.code === 'MESH_CONTROL_REFUSED')!.text, /missing parts in the service node|a~b/)
    await edge.kill()
  })
})

test('lives of certificates', { timeout: 120_000 }, async (t) => {
  const istiod = await Istiod.create(t)
  await istiod.start()
  for (const { asked, got, refused } of [
    { asked: 0, got: DAY_SEC, refused: false },
    { asked: 120, got: 120, refused: false },
    { asked: 90 * DAY_SEC, got: 90 * DAY_SEC, refused: false },
    { asked: 91 * DAY_SEC, got: DAY_SEC, refused: true },
  ]) {
    await t.test(`${asked} s asked for: ${got} s${refused ? ', and the refusal is said' : ''}`, async () => {
      const edge = await MeshAgent.create(t, istiod, {
        name: `life-${asked}`,
        control: [`certificateTtlSec: ${asked}`],
      })
      await edge.start()
      const { certificate, problems } = await edge.status('a certificate', (s) => s.certificate !== undefined)
      assert.ok(Math.abs(certificate!.expiresInSec - got) < 30, `${certificate!.expiresInSec}`)
      assert.deepEqual(
        problems.map((p) => p.code),
        refused ? ['MESH_CERTIFICATE_TTL'] : [],
      )
      await edge.kill()
    })
  }
})

test('a region that returns: more new streams than istiod takes in a second', { timeout: 120_000 }, async (t) => {
  const istiod = await Istiod.create(t, { env: { PILOT_MAX_REQUESTS_PER_SECOND: '1' } })
  await istiod.start()
  const agents = await Promise.all(
    Array.from({ length: 5 }, (_, i) => MeshAgent.create(t, istiod, { name: `edge-${i}`, ip: `127.0.0.${20 + i}` })),
  )
  for (const { agent } of agents) agent.launch()
  await synced(istiod, agents.length, 3)
  const slowed = agents.filter(({ agent }) => agent.process.log.includes('MESH_CONTROL_SLOW_DOWN')).length
  assert.ok(slowed > 0, 'nobody was told to come later')
  for (const edge of agents)
    await edge.status('all is well', (s) => s.control.link === 'connected' && s.problems.length === 0)
  t.diagnostic(`${slowed} of ${agents.length} were told to come later`)
})
