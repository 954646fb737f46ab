/**
 * The name table of a real istiod through the agent's DNS proxy: given addresses and allocated ones, pushes, and weeks
 * without istiod.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { promises as dns } from 'node:dns'
import fs from 'node:fs'
import { freePorts } from '../../../../tools/free-ports.ts'
import { until } from '../../programs.ts'
import { App, serviceEntry } from '../rig/app.ts'
import { Istiod } from '../rig/istiod.ts'
import { MeshAgent } from '../rig/mesh-agent.ts'

const name = (service: string): string => `${service}.shop.svc.cluster.local`

async function startRig(t: TestContext) {
  const [port, dnsPort] = (await freePorts(2)) as [number, number]
  const app = await App.start(t, 'one')
  // The addresses that istiod allocates by itself; the newer way writes them into the status of an API object, which
  // files have not.
  const istiod = await Istiod.create(t, { env: { PILOT_ENABLE_IP_AUTOALLOCATE: 'false' } })
  istiod.write('given', serviceEntry('given', { port, vip: '10.100.0.1', endpoints: [app] }))
  istiod.write('allocated', serviceEntry('allocated', { port, protocol: 'TCP', endpoints: [app] }))
  const edge = await MeshAgent.create(t, istiod, { rest: `dns: {port: ${dnsPort}, upstreams: [], search: [lan]}\n` })
  const resolver = new dns.Resolver({ timeout: 2_000, tries: 1 })
  resolver.setServers([`127.0.0.1:${dnsPort}`])
  const ask = (name: string): Promise<string> =>
    resolver.resolve4(name).then(
      (all) => all.join(),
      (err: NodeJS.ErrnoException) => err.code ?? String(err),
    )
  return { port, app, istiod, edge, resolver, ask }
}

type Rig = Awaited<ReturnType<typeof startRig>>

test('names of the mesh over DNS', { timeout: 180_000 }, async (t) => {
  const rig = await startRig(t)
  const { port, app, istiod, edge, resolver, ask } = rig
  const ready = edge.agent.start()
  await until('before the first table every name fails', async () => (await ask(name('given'))) === 'ESERVFAIL')
  await istiod.start()
  await ready
  await edge.status('the first table', (s) => s.dns?.names !== undefined && s.dns.names > 0)
  assert.equal(await ask(name('given')), '10.100.0.1')
  assert.equal(await ask(`${name('given')}.lan`), '10.100.0.1')
  const allocated = await ask(name('allocated'))
  assert.match(allocated, /^240\.240\.\d+\.\d+$/)
  assert.equal(await ask(name('unknown')), 'ENOTFOUND')

  await t.test('a service more and a service less', async () => {
    istiod.write('more', serviceEntry('more', { port, vip: '10.100.0.2', endpoints: [app] }))
    await until('it resolves', async () => (await ask(name('more'))) === '10.100.0.2')
    istiod.remove('more')
    await until('it is gone', async () => (await ask(name('more'))) === 'ENOTFOUND')
  })
  await t.test('without istiod, after a restart, the stored table resolves at once', async () => {
    await istiod.stop()
    assert.equal(await edge.agent.process.stop('SIGTERM'), 0)
    await edge.agent.start()
    assert.deepEqual([await ask(name('given')), await ask(name('allocated'))], ['10.100.0.1', allocated])
    assert.equal((await edge.status('a status')).config.stale, true)
  })
  await t.test('names of addresses, given and allocated', async () => {
    assert.deepEqual(
      [await resolver.reverse('10.100.0.1'), await resolver.reverse(allocated)],
      [[name('given')], [name('allocated')]],
    )
  })
  await withoutDns(t, rig)
})

async function withoutDns(t: TestContext, { istiod, edge, ask }: Rig): Promise<void> {
  await t.test(
    'without a dns section istiod is not asked for names, and still has the node as synced; with it again they come, not the old ones',
    async () => {
      assert.equal(await edge.agent.process.stop('SIGTERM'), 0)
      const yaml = fs.readFileSync(edge.agent.configFile, 'utf8')
      const [dns] = /^dns: .*\n/m.exec(yaml)!
      fs.writeFileSync(edge.agent.configFile, yaml.replace(dns, ''))
      await istiod.start()
      await edge.start()
      const kinds = await istiod.until('all is acknowledged', async () => {
        const { resources = {} } = (await istiod.syncz()).find((s) => s.proxy === 'edge-1.edge') ?? {}
        return Object.keys(resources).length >= 4 && Object.values(resources).every((r) => r.sent === r.acked)
          ? Object.keys(resources)
          : undefined
      })
      assert.equal(kinds.length, 4, kinds.join())
      const status = await edge.status(
        'the stored table is dropped',
        (s) => s.config.resources['name tables'] === undefined,
      )
      assert.deepEqual([status.dns, status.problems], [undefined, []])

      assert.equal(await edge.agent.process.stop('SIGTERM'), 0)
      fs.writeFileSync(edge.agent.configFile, yaml)
      await istiod.stop()
      await edge.agent.start()
      assert.equal(await ask(name('given')), 'ESERVFAIL', 'there is no table: nobody knows')
      await istiod.start()
      await until('it resolves', async () => (await ask(name('given'))) === '10.100.0.1')
    },
  )
}
