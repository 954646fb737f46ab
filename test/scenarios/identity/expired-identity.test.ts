/**
 * Certificates of three seconds and a control plane that goes away: what each mode of `identity.expired` still carries,
 * and the way back.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { systemNetwork } from '../../../core/os/network.ts'
import { ORDERS } from '../../../demo/resources.ts'
import { startDevice } from '../../../demo/services.ts'
import { nothingIsWrong, problem } from '../cli.ts'
import { startSite, until, type Finally, type Site, type TestAgent } from '../site.ts'

const MODES = {
  strict: '',
  'site-grace': 'identity: {expired: {mode: site-grace, graceHours: 1}}\n',
  'serve-local': 'identity: {expired: {mode: serve-local}}\n',
} as const

/** Short waits between tries, as chance may give them. */
const HASTE = { random: { float: () => Math.random() / 10 } }

async function expiringSite(t: Finally, mode: keyof typeof MODES): Promise<Site> {
  const site = await startSite(t, { over: HASTE, control: '  certificateTtlSec: 3\n', yaml: MODES[mode] })
  assert.equal((await site.app().call(ORDERS, '/orders/1')).status, 200)
  return site
}
const agentsOf = (site: Site): readonly TestAgent[] => [site.edge, site.cloud]
const isExpired = (agent: TestAgent): boolean => agent.status().certificate!.expiresInSec < 0

async function goOffline(site: Site): Promise<void> {
  site.links.control.cut()
  site.links.cloudControl.cut()
  for (const agent of agentsOf(site))
    await until(
      'its certificate has expired, and the link is gone',
      () => isExpired(agent) && agent.status().control.link !== 'connected',
    )
}
/** Over a connection of its own. */
async function call(site: Site): Promise<{ status: number; error: string | undefined }> {
  site.links.http.break()
  const { status, error } = await site.app().call(ORDERS, '/orders/2')
  return { status, error }
}
async function comesBack(site: Site): Promise<void> {
  site.links.control.restore()
  site.links.cloudControl.restore()
  for (const agent of agentsOf(site)) await agent.connected()
  await until('both have certificates again', () => agentsOf(site).every((a) => !isExpired(a)))
  await until('and traffic', async () => (await call(site)).status === 200)
  for (const agent of agentsOf(site)) await until('nothing is wrong', () => agent.problems().length === 0)
}
const grace = (agent: TestAgent): number => agent.agent.metrics.total('mesh_identity_grace_total')

test('strict: mTLS ends with the certificate, plain text goes on, and the token brings everything back by itself', async (t) => {
  const site = await expiringSite(t, 'strict')
  await goOffline(site)
  // Both ends look at the same moment; whoever comes second may find that there is no connection any more.
  const ender = await until('connections of before have ended', () =>
    agentsOf(site).find((a) => a.agent.metrics.total('mesh_identity_connections_ended_total') > 0),
  )
  assert.ok(ender.lines.some((l) => l['evt'] === 'identity.connections-ended'))
  const pooled = await site.app().call(ORDERS, '/orders/1')
  assert.deepEqual(
    [pooled.status, pooled.error],
    [503, 'MESH_IDENTITY_EXPIRED'],
    'not over a connection of before either',
  )
  assert.deepEqual(await call(site), { status: 503, error: 'MESH_IDENTITY_EXPIRED' })
  const sensor = await startDevice(site.edge.port('mqtt'), 'sensor')
  t.after(() => sensor.endAsync(true))
  await sensor.publishAsync('local/topic', 'plain', { qos: 1 })
  for (const agent of agentsOf(site))
    assert.match((await problem(agent, 'MESH_IDENTITY_EXPIRED')).text, /and no new one came: .*not reachable/)
  assert.equal(
    agentsOf(site).some((a) => grace(a) > 0),
    false,
  )
  await comesBack(site)
  await nothingIsWrong(site.edge)
})

test('strict: a server with an expired certificate takes nobody in, whoever comes', async (t) => {
  const site = await expiringSite(t, 'strict')
  site.links.cloudControl.cut()
  await until("cloud's certificate has expired", () => isExpired(site.cloud))
  assert.equal(isExpired(site.edge), false)
  assert.equal((await call(site)).status, 503)
  await until('cloud says why', () =>
    site.cloud.lines.some(
      (l) => l['evt'] === 'connection.refused' && (l['err'] as { code?: string }).code === 'MESH_IDENTITY_EXPIRED',
    ),
  )
  await comesBack(site)
})

test('site-grace: the site goes on among itself, says so everywhere, and stops as soon as the control plane could help', async (t) => {
  const site = await expiringSite(t, 'site-grace')
  await goOffline(site)
  assert.equal((await call(site)).status, 200)
  assert.deepEqual(
    [...site.orders.callers],
    ['spiffe://demo.mesh/ns/edge/sa/gateway'],
    'who called is proven all the same',
  )
  for (const [agent, side] of [
    [site.edge, 'server'],
    [site.cloud, 'client'],
  ] as const) {
    assert.ok(grace(agent) > 0)
    const line = agent.lines.find((l) => l['evt'] === 'identity.grace')
    assert.deepEqual([line?.['side'], String(line?.['peer']).startsWith('spiffe://demo.mesh/ns/')], [side, true])
    assert.match(
      (await problem(agent, 'MESH_IDENTITY_GRACE')).text,
      /^expired certificates of demo\.mesh count until 20/,
    )
    assert.ok(agent.problems().includes('MESH_IDENTITY_EXPIRED'))
  }
  // A restart without the control plane changes nothing.
  await site.cloud.stop()
  await site.cloud.start()
  assert.equal((await call(site)).status, 200)

  // Cloud is connected again and has a new certificate: it has no reason to take an expired one any more.
  site.links.cloudControl.restore()
  await site.cloud.connected()
  await until('cloud has a certificate', () => !isExpired(site.cloud))
  assert.equal((await call(site)).status, 503)
  await comesBack(site)
})

test('site-grace: an expired certificate of another CA stays outside', async (t) => {
  const site = await expiringSite(t, 'site-grace')
  await goOffline(site)
  assert.equal((await call(site)).status, 200)
  await site.edge.stop()
  const file = `${site.edge.folder}/state/identity/identity.json`
  const { testCa } = await import('../../helpers/test-ca.ts')
  const stranger = testCa('demo.mesh').issue('edge', 'gateway', { notBeforeMs: Date.now() - 7_200_000, ttlSec: 7_190 })
  const own = JSON.parse(fs.readFileSync(file, 'utf8')) as { rootsPem: string }
  fs.writeFileSync(
    file,
    JSON.stringify({ keyPem: stranger.keyPem, chainPem: stranger.chainPem, rootsPem: own.rootsPem }),
  )
  await site.edge.start()
  assert.equal((await call(site)).status, 503)
  await until('cloud says why', () =>
    site.cloud.lines.some(
      (l) =>
        l['evt'] === 'connection.refused' &&
        /does not lead to a root/.test((l['err'] as { message?: string }).message ?? ''),
    ),
  )
})

test('serve-local: only what stays on this machine is carried, in and out', async (t) => {
  const site = await expiringSite(t, 'serve-local')
  let elsewhere = '127.0.0.1'
  await site.edge.stop()
  site.edge.over = {
    ...HASTE,
    network: {
      ...systemNetwork,
      listen: (at, take) => systemNetwork.listen(at, (s) => take({ ...s, remote: { ...s.remote, host: elsewhere } })),
      dial: async (to, signal, options) => {
        const s = await systemNetwork.dial(to, signal, options)
        return { ...s, remote: { ...s.remote, host: elsewhere } }
      },
    },
  }
  await site.edge.start()
  await site.edge.connected()
  const publish = async (): Promise<'taken' | 'refused'> => {
    const { connect } = await import('mqtt')
    const client = connect({ host: '127.0.0.1', port: site.edge.port('mqtt'), reconnectPeriod: 0, clientId: 'sensor' })
    t.after(() => {
      client.end(true)
    })
    return new Promise((resolve) => {
      client.once('connect', () => resolve('taken'))
      client.once('close', () => resolve('refused'))
      client.on('error', () => resolve('refused'))
    })
  }
  elsewhere = '192.0.2.7'
  assert.equal(await publish(), 'taken', 'while the certificate counts, from everywhere')
  await goOffline(site)
  assert.equal(await publish(), 'refused')
  assert.ok(
    site.edge.lines.some(
      (l) => l['evt'] === 'connection.refused' && (l['err'] as { code?: string }).code === 'MESH_IDENTITY_EXPIRED',
    ),
  )
  elsewhere = '127.0.0.1'
  assert.equal(await publish(), 'taken')
  assert.deepEqual(await call(site), { status: 503, error: 'MESH_IDENTITY_EXPIRED' }, 'mTLS has ended')
  await comesBack(site)
})

test('renewals by the second: no request fails, and none is cut that is under way', async (t) => {
  const site = await startSite(t, { control: '  certificateTtlSec: 4\n' })
  const app = site.app()
  const serials = new Set<string>()
  let [asked, held] = [0, 0]
  const slow = app.call(ORDERS, '/slow')
  await until('the slow request has arrived', () => {
    held = site.orders.holding
    return held === 1
  })
  await until('three renewals on each side', async () => {
    const reply = await app.call(ORDERS, `/orders/${asked++}`)
    assert.deepEqual([reply.status, reply.error], [200, undefined], `request ${asked}`)
    for (const agent of agentsOf(site)) serials.add(agent.status().certificate!.serial)
    return serials.size >= 8
  })
  site.orders.release()
  assert.equal((await slow).body, 'first last')
  assert.ok(asked > 20)
})
