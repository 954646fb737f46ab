/**
 * istiod closes its connections by age, restarts, and sends everything again each time: no request notices, and what
 * did not change costs nothing.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { freePorts } from '../../../../tools/free-ports.ts'
import { App, serviceEntry, SIDECAR_LABEL } from '../rig/app.ts'
import { Istiod } from '../rig/istiod.ts'
import { Load } from '../rig/load.ts'
import { MeshAgent } from '../rig/mesh-agent.ts'

const SERVICES = 100
/** Enough for Struct maps whose order vtprotobuf leaves to chance. */
const services = (port: number, to: App): string =>
  Array.from({ length: SERVICES }, (_, i) =>
    serviceEntry(`svc-${i}`, {
      port,
      vip: `10.10.0.${i + 1}`,
      endpoints: [
        to,
        { address: '127.0.0.4', port: to.port, labels: `${SIDECAR_LABEL}, version: v2`, serviceAccount: 'svc' },
      ],
    }),
  ).join('')

/** Everything that the snapshot consists of on disk. */
function diskHash(edge: MeshAgent): string {
  const hash = createHash('sha256')
  for (const name of fs
    .readdirSync(edge.stateFolder)
    .filter((n) => n.startsWith('snapshot.db') && !n.endsWith('-shm'))
    .sort())
    hash.update(name).update(fs.readFileSync(`${edge.stateFolder}/${name}`))
  return hash.digest('hex')
}

type Cost = { readonly generation: number; readonly changed: number; readonly disk: string }

async function startRig(t: TestContext) {
  const [port, loadPort] = (await freePorts(2)) as [number, number]
  const app = await App.start(t, 'app')
  // 10 s instead of Helm's 30 min, so that each counts as a stream that went well; 1 s instead of 10 s for what is
  // open.
  const istiod = await Istiod.create(t, { maxAgeMs: 10_000, maxAgeGraceMs: 1_000 })
  istiod.write('all', services(port, app) + serviceEntry('load', { port: loadPort, endpoints: [app] }))
  await istiod.start()
  // A whole copy, which is made once after the first push, notes in the file that it was made.
  const edge = await MeshAgent.create(t, istiod, { control: ['snapshotCopyIntervalMs: 0'] })
  await edge.start()
  await edge.until(`http://load.shop.svc.cluster.local:${loadPort}/`, (a) => a.body === 'app')
  await edge.status('all endpoints are there', (s) => s.config.resources['endpoint sets'] === SERVICES + 1)
  const load = new Load({
    port: edge.proxyPort,
    path: `http://load.shop.svc.cluster.local:${loadPort}/`,
    host: `load.shop.svc.cluster.local:${loadPort}`,
    workers: 8,
  })
  const streams = (): Promise<number> => edge.metric('mesh_control_streams_total', 'result="ended"')
  const cost = async (): Promise<Cost> => ({
    generation: (await edge.status('a status')).config.generation,
    changed: await edge.metric('mesh_config_resources_changed_total'),
    disk: diskHash(edge),
  })
  /** Everything has been sent again and answered: four kinds acknowledged on a stream that was not there before. */
  const resent = (): Promise<unknown> =>
    istiod.until(
      'all is acknowledged',
      async () => {
        const { resources = {} } = (await istiod.syncz()).find((s) => s.proxy === 'edge-1.edge') ?? {}
        return (
          Object.keys(resources).length === 4 &&
          Object.values(resources).every((r) => r.sent !== undefined && r.sent === r.acked)
        )
      },
      60_000,
    )
  return { port, app, istiod, edge, load, streams, cost, resent }
}

test(
  'reconnects under load: nothing fails, and unchanged resources make no tables and no writes',
  { timeout: 240_000 },
  async (t) => {
    const { port, app, istiod, edge, load, streams, cost, resent } = await startRig(t)
    await resent()
    await edge.saved()
    const before = await cost()

    await t.test('by age, three times, 100 services each: same generation, same bytes on disk', async () => {
      const from = await streams()
      await edge.agent.process.until('three streams have ended', async () => (await streams()) >= from + 3, 90_000)
      await resent()
      assert.deepEqual(await cost(), before)
    })
    await t.test('istiod restarts, by SIGTERM and by SIGKILL: the same', async () => {
      for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
        await istiod.restart(signal)
        await resent()
        assert.deepEqual(await cost(), before, signal)
      }
    })
    await t.test('a change still arrives', async () => {
      istiod.write('one', serviceEntry('one', { namespace: 'later', port, endpoints: [app] }))
      await edge.until(`http://one.later.svc.cluster.local:${port}/`, (a) => a.body === 'app')
      assert.ok((await cost()).generation > before.generation)
    })
    await load.stop()
    assert.deepEqual(load.failed, [])
    assert.ok(load.answered > 1_000, `${load.answered} requests`)
    assert.equal(await edge.metric('mesh_config_resources_rejected_total'), 0)
    assert.equal(await istiod.metric('pilot_total_xds_rejects'), 0)
    t.diagnostic(`${load.answered} requests answered, ${await streams()} streams ended`)
  },
)
