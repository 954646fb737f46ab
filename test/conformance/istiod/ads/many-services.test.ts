/**
 * A mesh of a thousand services: everything is in force, what one change costs is small, and the figures are printed.
 * Timings are for test/bench.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { freePorts } from '../../../../tools/free-ports.ts'
import { App, serviceEntry } from '../rig/app.ts'
import { Istiod } from '../rig/istiod.ts'
import { MeshAgent } from '../rig/mesh-agent.ts'

const SERVICES = 1_000
const TICKS_PER_SECOND = 100

/** Of a process, from /proc. */
function usage(pid: number): { cpuMs: number; rssMb: number } {
  const fields = fs
    .readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  const rssKb = Number(/^VmRSS:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))![1])
  return { cpuMs: ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SECOND, rssMb: rssKb / 1024 }
}

async function startRig(t: TestContext) {
  const [port] = (await freePorts(1)) as [number]
  // Each of them answers: which one a request gets is left to chance.
  const apps = [
    await App.start(t, 'app'),
    await App.start(t, 'app', '127.0.0.4'),
    await App.start(t, 'app', '127.0.0.5'),
  ]
  const istiod = await Istiod.create(t)
  const entry = (i: number): string =>
    serviceEntry(`svc-${i}`, { port, vip: `10.${10 + (i >> 8)}.${i & 255}.1`, endpoints: apps })
  istiod.write('all', Array.from({ length: SERVICES }, (_, i) => entry(i)).join(''))
  await istiod.start()
  const edge = await MeshAgent.create(t, istiod)
  const figures = async (what: string, from: { cpuMs: number; rssMb: number }): Promise<void> => {
    const { cpuMs, rssMb } = usage(edge.agent.process.child.pid!)
    t.diagnostic(
      `${what}: ${Math.round(cpuMs - from.cpuMs)} ms of CPU, ${rssMb.toFixed(1)} MB RSS (${(rssMb - from.rssMb).toFixed(1)} more), generation ${(await edge.status('a status')).config.generation}`,
    )
  }
  const now = (): ReturnType<typeof usage> => usage(edge.agent.process.child.pid!)
  return { port, istiod, edge, entry, figures, now }
}
type Rig = Awaited<ReturnType<typeof startRig>>

test('a thousand services', { timeout: 300_000 }, async (t) => {
  const rig = await startRig(t)
  await firstSyncAndOneChange(t, rig)
  await restarts(t, rig)
})

async function firstSyncAndOneChange(t: TestContext, { port, istiod, edge, entry, figures, now }: Rig): Promise<void> {
  await t.test('all of them are there after the first sync, and nothing is wrong', async () => {
    await edge.start()
    const { config, problems } = await edge.status(
      'everything has come',
      (s) => s.config.resources['endpoint sets'] === SERVICES && s.config.resources['route tables'] === 2,
      60_000,
    )
    assert.equal(config.resources['clusters'], SERVICES + 3)
    assert.deepEqual([problems, config.rejected], [[], []])
    await figures('first sync, from the start of the process', { cpuMs: 0, rssMb: 0 })
  })
  await t.test('requests to some of them', async () => {
    for (const i of [0, 499, 999])
      await edge.until(`http://svc-${i}.shop.svc.cluster.local:${port}/`, (a) => a.body === 'app')
  })
  await t.test('an endpoint changes: one resource', async () => {
    const [before, changed] = [now(), await edge.metric('mesh_config_resources_changed_total')]
    const other = await App.start(t, 'other', '127.0.0.6')
    istiod.write(
      'all',
      Array.from({ length: SERVICES }, (_, i) =>
        i === 7 ? serviceEntry('svc-7', { port, vip: '10.10.7.1', endpoints: [other] }) : entry(i),
      ).join(''),
    )
    await edge.until(`http://svc-7.shop.svc.cluster.local:${port}/`, (a) => a.body === 'other')
    assert.equal((await edge.metric('mesh_config_resources_changed_total')) - changed, 1)
    await figures('one endpoint set changed', before)
  })
}

async function restarts(t: TestContext, { port, istiod, edge, figures, now }: Rig): Promise<void> {
  await t.test('istiod restarts and sends everything again: nothing changes', async () => {
    const [before, generation] = [now(), (await edge.status('a status')).config.generation]
    await istiod.restart()
    await istiod.until(
      'all is acknowledged',
      async () =>
        Object.values((await istiod.syncz()).find((s) => s.proxy === 'edge-1.edge')?.resources ?? {}).filter(
          (r) => r.sent !== undefined && r.sent === r.acked,
        ).length === 4,
      60_000,
    )
    assert.equal((await edge.status('a status')).config.generation, generation)
    await figures('unchanged reconnect', before)
  })
  await t.test('killed and started without istiod: all from disk', async () => {
    await edge.saved()
    await istiod.stop()
    await edge.kill()
    await edge.agent.start()
    assert.equal((await edge.get(`http://svc-999.shop.svc.cluster.local:${port}/`)).body, 'app')
    await figures('start from disk, to the first answer', { cpuMs: 0, rssMb: 0 })
  })
}
