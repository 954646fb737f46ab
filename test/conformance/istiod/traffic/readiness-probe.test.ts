/**
 * The probe of a WorkloadGroup: what the workload answers decides, through istiod, whether others have the node as an
 * endpoint.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { freePorts } from '../../../../tools/free-ports.ts'
import { sleep, temporaryFolder } from '../../programs.ts'
import { App, SIDECAR_LABEL } from '../rig/app.ts'
import { EchoServer } from '../rig/echo.ts'
import { edgeGroup, edgeService, edgeSidecar } from '../rig/inbound.ts'
import { Istiod, type StoredObject } from '../rig/istiod.ts'
import { CLOUD, MeshAgent, NODE_IP } from '../rig/mesh-agent.ts'

const service = (port: number, appPort: number): string =>
  edgeService({ http: { port, protocol: 'HTTP' } }) +
  edgeSidecar({ http: { port, protocol: 'HTTP', to: appPort } }, '~/*')
const group = (probe: string): string => edgeGroup(`  probe: ${probe}\n`)
/** One made beforehand, for a node that names it as WORKLOAD_ENTRY. */
const entryYaml = `---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: edge-1, namespace: edge, annotations: {proxy.istio.io/health-checks-enabled: "true"}}
spec: {address: ${NODE_IP}, network: site-1, labels: {app: edge, ${SIDECAR_LABEL}}, serviceAccount: gateway}
`
const ENTRY = `gw-${NODE_IP}-site-1`
const DISCONNECTED = 'istio.io/disconnectedAt'
type Condition = { readonly type: string; readonly status: string; readonly message?: string }

/** What istiod has written into an entry: by it, it takes the node into EDS and out of it. */
function healthOf(entry: StoredObject | undefined): Condition | undefined {
  return ((entry?.Status as { conditions?: readonly Condition[] } | undefined)?.conditions ?? []).find(
    (c) => c.type === 'Healthy',
  )
}
const entryNamed = (istiod: Istiod, name: string): Promise<StoredObject | undefined> =>
  istiod.objects('WorkloadEntry').then((all) => all.find((e) => e.name === name))

/** Of the service, as the other agent knows them from EDS. */
async function endpointsSeenBy(other: MeshAgent, port: number): Promise<readonly string[]> {
  type Page = {
    readonly cluster_statuses: readonly {
      readonly name: string
      readonly host_statuses: readonly {
        readonly address: { readonly socket_address: { readonly address: string; readonly port_value: number } }
      }[]
    }[]
  }
  const page = JSON.parse((await other.agent.get('/clusters?format=json'))!.text) as Page
  return (
    page.cluster_statuses
      .find((c) => c.name === `outbound|${port}||edge.edge.svc.cluster.local`)
      ?.host_statuses.map((h) => `${h.address.socket_address.address}:${h.address.socket_address.port_value}`) ?? [
      'no such cluster',
    ]
  )
}

async function startGroup(t: TestContext) {
  const [port] = (await freePorts(1)) as [number]
  const app = await App.start(t, 'app', '127.0.0.1')
  const works = { well: false }
  app.behaviour = (req, res) => {
    if (req.url !== '/healthz' || works.well) return false
    res.writeHead(503).end()
    return true
  }
  const probe = `{httpGet: {path: /healthz, port: ${app.port}}, periodSeconds: 1}`
  const istiod = await Istiod.create(t, { store: 'kube' })
  istiod.write('edge', group(probe) + service(port, app.port))
  await istiod.start()
  const edge = await MeshAgent.create(t, istiod, {
    node: ['network: site-1', 'metadata: {AUTO_REGISTER_GROUP: gw}'],
    rest: `readinessProbe: ${probe}\n`,
  })
  const cloud = await MeshAgent.create(t, istiod, { ...CLOUD, node: ['network: site-1'] })
  await cloud.start()
  const url = `http://edge.edge.svc.cluster.local:${port}/`
  const entry = (): Promise<StoredObject | undefined> => entryNamed(istiod, ENTRY)
  const toldHealth = (status: 'True' | 'False'): Promise<StoredObject> =>
    istiod.until(
      `the entry's health is ${status}`,
      async () => {
        const found = await entry()
        return healthOf(found)?.status === status && found
      },
      40_000,
    )
  const seen = (what: string, endpoints: readonly string[]): Promise<unknown> =>
    istiod.until(what, async () => (await endpointsSeenBy(cloud, port)).join() === endpoints.join(), 40_000)
  const serves = async (): Promise<void> => {
    await seen('it is an endpoint', [`${NODE_IP}:${port}`])
    await cloud.until(url, (a) => a.body === 'app')
  }
  return { port, app, works, istiod, edge, cloud, url, entry, toldHealth, seen, serves }
}
type Group = Awaited<ReturnType<typeof startGroup>>

test('WorkloadGroup probe', { timeout: 240_000 }, async (t) => {
  const rig = await startGroup(t)
  await answersDecide(t, rig)
  await absences(t, rig)
})

async function answersDecide(
  t: TestContext,
  { port, app, works, edge, cloud, url, toldHealth, seen, serves }: Group,
): Promise<void> {
  await t.test('a workload that does not work: there is an entry, but no endpoint', async () => {
    await edge.start()
    assert.match(healthOf(await toldHealth('False'))?.message ?? '', /the status is 503/)
    assert.deepEqual(await endpointsSeenBy(cloud, port), [])
    assert.equal((await cloud.get(url)).status, 503)
  })
  await t.test('it works: others have the endpoint, and reach it over mutual TLS', async () => {
    works.well = true
    const { Spec, annotations } = await toldHealth('True')
    assert.equal((Spec as { address: string }).address, NODE_IP)
    assert.equal(annotations?.['proxy.istio.io/health-checks-enabled'], 'true')
    await serves()
    assert.match(
      String(app.seen.at(-1)?.headers['x-forwarded-client-cert']),
      /URI=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/client$/,
    )
  })
  await t.test('it works no longer: the endpoint goes at once, the entry stays', async () => {
    works.well = false
    await toldHealth('False')
    await seen('it is no endpoint', [])
    assert.equal((await cloud.get(url)).status, 503)
    works.well = true
    await toldHealth('True')
    await serves()
  })
}

async function absences(
  t: TestContext,
  { port, istiod, edge, cloud, entry, toldHealth, seen, serves }: Group,
): Promise<void> {
  await t.test('a short absence: the entry and its health stay, and the node is an endpoint all the time', async () => {
    await edge.kill()
    await istiod.until('istiod has noticed', async () => (await entry())?.annotations?.[DISCONNECTED] !== undefined)
    assert.deepEqual(
      [healthOf(await entry())?.status, await endpointsSeenBy(cloud, port)],
      ['True', [`${NODE_IP}:${port}`]],
    )
    await edge.start()
    await istiod.until('istiod has it back', async () => (await entry())?.annotations?.[DISCONNECTED] === undefined)
    // Longer than the ten seconds of grace, which began when it left.
    await sleep(12_000)
    assert.equal(healthOf(await entry())?.status, 'True')
    await serves()
  })
  await t.test('ten seconds after it left, entry and endpoint are gone', async () => {
    await edge.kill()
    await istiod.until('the entry is gone', async () => (await entry()) === undefined, 40_000)
    await seen('it is no endpoint', [])
  })
  await t.test(
    'it comes back: registered anew, healthy on the new stream without a change of its own, an endpoint',
    async () => {
      await edge.start()
      await toldHealth('True')
      await serves()
    },
  )
  await t.test('while it drains it is no endpoint', async () => {
    await edge.agent.get('/drain', 'POST')
    assert.match(healthOf(await toldHealth('False'))?.message ?? '', /drain/)
    await seen('it is no endpoint', [])
    await edge.kill()
  })
}

test('a WorkloadEntry made beforehand', { timeout: 120_000 }, async (t) => {
  const [port] = (await freePorts(1)) as [number]
  const app = await App.start(t, 'app', '127.0.0.1')
  const istiod = await Istiod.create(t, { store: 'kube' })
  istiod.write('edge', entryYaml + service(port, app.port))
  await istiod.start()
  const edge = await MeshAgent.create(t, istiod, {
    node: ['network: site-1', 'metadata: {WORKLOAD_ENTRY: edge-1}'],
    rest: `readinessProbe: {tcpSocket: {port: ${app.port}}, periodSeconds: 1}\n`,
  })
  const cloud = await MeshAgent.create(t, istiod, { ...CLOUD, node: ['network: site-1'] })
  await cloud.start()
  const seen = (what: string, endpoints: readonly string[]): Promise<unknown> =>
    istiod.until(what, async () => (await endpointsSeenBy(cloud, port)).join() === endpoints.join(), 40_000)

  await t.test('it is no endpoint before the node has spoken, and one afterwards', async () => {
    await seen('it is no endpoint', [])
    await edge.start()
    await seen('it is an endpoint', [`${NODE_IP}:${port}`])
    await cloud.until(`http://edge.edge.svc.cluster.local:${port}/`, (a) => a.body === 'app')
    assert.equal(healthOf(await entryNamed(istiod, 'edge-1'))?.status, 'True')
  })
  await t.test(
    'ten seconds after it left the entry is there, but its health is forgotten, and the endpoint gone',
    async () => {
      await edge.kill()
      await istiod.until(
        'its health is forgotten',
        async () => healthOf(await entryNamed(istiod, 'edge-1')) === undefined,
        40_000,
      )
      await seen('it is no endpoint', [])
      assert.equal((await entryNamed(istiod, 'edge-1'))?.name, 'edge-1')
    },
  )
  await t.test('it comes back as an endpoint', async () => {
    await edge.start()
    await seen('it is an endpoint', [`${NODE_IP}:${port}`])
  })
})

type Kinds = Readonly<Record<string, { readonly ip: string; readonly probe: string; readonly message: RegExp }>>
/** By kind of probe: the node's address, its probe, and the reason that is given when it fails. */
function kindsOf(app: App, echo: EchoServer, mark: string): Kinds {
  return {
    httpGet: {
      ip: '127.0.0.11',
      probe: `{httpGet: {port: ${app.port}}, periodSeconds: 1}`,
      message: /closed before an answer/,
    },
    tcpSocket: {
      ip: '127.0.0.12',
      probe: `{tcpSocket: {port: ${echo.tcp}}, periodSeconds: 1}`,
      message: /ECONNREFUSED/,
    },
    exec: {
      ip: '127.0.0.13',
      probe: `{exec: {command: [test, -e, ${mark}]}, periodSeconds: 1}`,
      message: /test ended with 1/,
    },
    // Istio's echo implements grpc.health.v1.
    grpc: { ip: '127.0.0.14', probe: `{grpc: {port: ${echo.grpc}}, periodSeconds: 1}`, message: /ECONNREFUSED/ },
  }
}
async function startAll(t: TestContext, istiod: Istiod, kinds: Kinds): Promise<void> {
  await Promise.all(
    Object.entries(kinds).map(async ([name, { ip, probe }]) => {
      const node = await MeshAgent.create(t, istiod, {
        name: `edge-${name.toLowerCase()}`,
        ip,
        node: ['metadata: {AUTO_REGISTER_GROUP: gw}'],
        rest: `readinessProbe: ${probe}\n`,
      })
      await node.start()
    }),
  )
}

test('each kind of probe reaches istiod, when it passes and when it fails', { timeout: 120_000 }, async (t) => {
  const app = await App.start(t, 'app', '127.0.0.1')
  const echo = await EchoServer.start(t)
  const folder = temporaryFolder(t)
  const mark = path.join(folder, 'works')
  fs.writeFileSync(mark, '')
  const istiod = await Istiod.create(t, { store: 'kube' })
  istiod.write('edge', group('{exec: {command: ["true"]}}'))
  await istiod.start()
  let failing = false
  app.behaviour = (_, res) => {
    if (failing) res.destroy()
    return failing
  }
  const kinds = kindsOf(app, echo, mark)
  await startAll(t, istiod, kinds)
  const told = (ip: string, status: 'True' | 'False'): Promise<Condition> =>
    istiod.until(
      `${ip} is ${status}`,
      async () => {
        const health = healthOf(await entryNamed(istiod, `gw-${ip}`))
        return health?.status === status && health
      },
      30_000,
    )
  for (const [name, { ip }] of Object.entries(kinds))
    await t.test(`${name} passes`, async () => {
      await told(ip, 'True')
    })
  failing = true
  await echo.process.stop('SIGKILL')
  fs.rmSync(mark)
  for (const [name, { ip, message }] of Object.entries(kinds))
    await t.test(`${name} fails`, async () => {
      assert.match((await told(ip, 'False')).message ?? '', message)
    })
})

test(
  'an istiod without Kubernetes, which dies of word of health, hears none from a node without an entry',
  { timeout: 120_000 },
  async (t) => {
    const app = await App.start(t, 'app', '127.0.0.1')
    const istiod = await Istiod.create(t)
    await istiod.start()
    const edge = await MeshAgent.create(t, istiod, {
      rest: `readinessProbe: {httpGet: {port: ${app.port}}, periodSeconds: 1}\n`,
    })
    await edge.start()
    const { workload } = await edge.status('the probe has passed', (s) => s.workload?.state === 'healthy')
    assert.equal(workload?.told, false)
    app.behaviour = (_, res) => {
      res.writeHead(500).end()
      return true
    }
    await edge.status('the probe has failed', (s) => s.workload?.state === 'unhealthy')
    assert.equal((await istiod.get('/ready'))?.status, 200)
    assert.ok(istiod.process.running)
  },
)
