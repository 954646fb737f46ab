/** Two istiods of one mesh: a canary revision takes over while traffic runs, and back, by absence and by a reload. */
import fs from 'node:fs'
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { freePorts } from '../../../../tools/free-ports.ts'
import { App, serviceEntry } from '../rig/app.ts'
import { Istiod } from '../rig/istiod.ts'
import { Load } from '../rig/load.ts'
import { MeshAgent } from '../rig/mesh-agent.ts'

async function startRig(t: TestContext, { knowsBoth }: { readonly knowsBoth: boolean }) {
  const [port, canaryPort] = (await freePorts(2)) as [number, number]
  const [orders, canary] = [await App.start(t, 'orders'), await App.start(t, 'canary')]
  const stable = await Istiod.create(t, { revision: 'stable' })
  const next = await Istiod.create(t, { revision: 'canary', ca: stable.ca, issuer: stable.issuer })
  stable.write('orders', serviceEntry('orders', { port, endpoints: [orders] }))
  next.write('orders', serviceEntry('orders', { port, endpoints: [orders] }))
  await stable.start()
  await next.start()
  const edge = await MeshAgent.create(t, stable, { more: knowsBoth ? [next] : [] })
  await edge.start()
  const url = `http://orders.shop.svc.cluster.local:${port}/`
  await edge.until(url, (a) => a.body === 'orders')
  const {
    config: { generation },
    certificate,
  } = await edge.status('a status')
  const load = new Load({
    port: edge.proxyPort,
    path: url,
    host: `orders.shop.svc.cluster.local:${port}`,
    workers: 4,
  })
  return { canaryPort, canary, stable, next, edge, generation, certificate, load }
}

test(
  'revision switch: the second address takes over and back, without a failed request',
  { timeout: 180_000 },
  async (t) => {
    const { canaryPort, canary, stable, next, edge, generation, certificate, load } = await startRig(t, {
      knowsBoth: true,
    })
    await t.test('the first goes: the other has the node, the configuration is the same', async () => {
      await stable.stop('SIGTERM')
      const s = await edge.status(
        'connected with the other',
        ({ control, config }) => control.link === 'connected' && control.address === next.address && !config.stale,
        60_000,
      )
      await next.until(
        'all is acknowledged',
        async () =>
          Object.values((await next.syncz()).find((n) => n.proxy === 'edge-1.edge')?.resources ?? {}).filter(
            (r) => r.sent !== undefined && r.sent === r.acked,
          ).length === 4,
      )
      assert.equal((await edge.status('a status')).config.generation, generation)
      assert.equal(s.certificate?.serial, certificate?.serial, 'one CA, one certificate')
      assert.deepEqual(s.problems, [])
    })
    await t.test('what the new revision says is in force', async () => {
      next.write('canary', serviceEntry('canary', { port: canaryPort, endpoints: [canary] }))
      await edge.until(`http://canary.shop.svc.cluster.local:${canaryPort}/`, (a) => a.body === 'canary')
    })
    await t.test('rolled back: what only the canary knew is gone', async () => {
      await stable.start()
      await next.stop('SIGKILL')
      await edge.status(
        'connected with the first',
        ({ control }) => control.link === 'connected' && control.address === stable.address,
        60_000,
      )
      await edge.agent.process.until(
        'no resource names it',
        async () => !(await edge.agent.get('/config_dump'))!.text.includes('canary.shop'),
      )
      await edge.status(
        'its port is closed',
        ({ listeners }) => !listeners.some((l) => l.address.endsWith(`:${canaryPort}`)),
      )
    })
    await load.stop()
    assert.deepEqual(load.failed, [])
  },
)

test(
  'another revision by a changed agent.yaml and a reload: warm, and back, without a failed request',
  { timeout: 180_000 },
  async (t) => {
    const { canaryPort, canary, stable, next, edge, certificate, load } = await startRig(t, { knowsBoth: false })
    next.write('canary', serviceEntry('canary', { port: canaryPort, endpoints: [canary] }))
    const { configFile } = edge.agent
    const before = fs.readFileSync(configFile, 'utf8')
    const isWith = (istiod: Istiod): Promise<unknown> =>
      edge.status(
        `connected with ${istiod.address}`,
        ({ control, config }) => control.link === 'connected' && control.address === istiod.address && !config.stale,
        30_000,
      )
    const reload = async (yaml: string): Promise<string> => {
      fs.writeFileSync(configFile, yaml)
      return (await edge.agent.get('/reload', 'POST'))?.text ?? ''
    }
    await t.test('to the canary: its configuration is in force, the certificate stays', async () => {
      const canaryYaml = before
        .replace(stable.address, next.address)
        .replace('labels: {app: edge}', 'labels: {app: edge, istio.io/rev: canary}')
      assert.deepEqual(JSON.parse(await reload(canaryYaml)), {
        applied: ['node.labels.istio.io/rev', 'control.address'],
        needsRestart: [],
        reasons: {},
      })
      await isWith(next)
      await edge.until(`http://canary.shop.svc.cluster.local:${canaryPort}/`, (a) => a.body === 'canary')
      const { certificate: now, problems } = await edge.status('a status')
      assert.deepEqual([now?.serial, problems], [certificate?.serial, []])
      await stable.until('the first has lost the node', async () =>
        (await stable.syncz()).every((n) => n.proxy !== 'edge-1.edge'),
      )
      assert.match((await edge.agent.get('/config_dump'))!.text, /"istio\.io\/rev": ?"canary"/)
    })
    await t.test('and back', async () => {
      await reload(before)
      await isWith(stable)
      await edge.agent.process.until(
        'no resource names what only the canary knew',
        async () => !(await edge.agent.get('/config_dump'))!.text.includes('canary.shop'),
      )
    })
    await load.stop()
    assert.deepEqual(load.failed, [])
  },
)
