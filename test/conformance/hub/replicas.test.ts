/**
 * Two shipped hubs on Debian's PostgreSQL behind a balancer. One is killed, then the database, while devices join, renew
 * and are revoked: what was answered stands, no token opens more than it may, nobody is taken for a copy.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { OpenRegistry } from '../../../hub/registry/registry.ts'
import { findDebianProgram } from '../../../tools/debian.ts'
import { findPostgres, openStore, startPostgres, type PostgresServer } from '../../hub/registry/postgres/server.ts'
import { until } from '../programs.ts'
import { command, SimulatedDevice, startBalancer, startReplica, type Replica } from './rig.ts'

const DEVICES = 24
const USES = 20
const REVOKED = ['gw-3', 'gw-7', 'gw-11']

findDebianProgram('postgres')

type Site = {
  readonly server: PostgresServer
  readonly registry: OpenRegistry
  readonly first: Replica
  readonly second: Replica
  readonly devices: readonly SimulatedDevice[]
  readonly token: string
}

async function startSite(t: Parameters<typeof startPostgres>[0]): Promise<Site> {
  const server = await startPostgres(t, findPostgres()!)
  const settings = server.settings()
  const first = await startReplica(t, settings.url)
  const second = await startReplica(t, settings.url, first)
  const [api, grpc] = [
    await startBalancer(t, [first.api, second.api]),
    await startBalancer(t, [first.grpc, second.grpc]),
  ]
  const roots = fs.readFileSync(path.join(path.dirname(first.config), 'state/ca/root-cert.pem'), 'utf8')
  const devices = Array.from({ length: DEVICES }, (_, n) => new SimulatedDevice(`gw-${n}`, { api, grpc, roots }))
  const words = ['token', 'create', '-n', 'edge', '-s', 'gateway', '--name-pattern', 'gw-*', '--uses', String(USES)]
  const token = (await command(first, ...words)).trim()
  const registry = new OpenRegistry(await openStore(settings))
  t.after(() => registry[Symbol.asyncDispose]())
  t.after(() => {
    for (const device of devices) device.leave()
  })
  return { server, registry, first, second, devices, token }
}

/** Renews until all of `devices` have done so `rounds` times more. */
const renewAll = (devices: readonly SimulatedDevice[], rounds: number): Promise<unknown> =>
  Promise.all(
    devices.map(async (device) => {
      for (let round = 0; round < rounds && device.refused === undefined; round++) await device.renew()
    }),
  )

async function checkKept({ registry }: Site, joined: readonly SimulatedDevice[]): Promise<void> {
  for (const device of joined) {
    const known = await registry.enrollments.byName(device.name)
    assert.equal(known?.keyId, device.keyId, device.name)
    assert.ok(known.counter >= device.last!.counter, `${device.name}: ${known.counter} < ${device.last!.counter}`)
    assert.equal(known.clonedMs, null, `${device.name} is no copy`)
  }
}

test(
  'a hub is killed while devices join, renew and are revoked; then the database is',
  { timeout: 240_000 },
  async (t) => {
    const site = await startSite(t)
    const { registry, devices, second, first } = site
    const joining = Promise.all(devices.map((device) => device.join(site.token)))
    await until('half have joined', () => devices.filter((d) => d.last).length >= DEVICES / 3)
    first.running.child.kill('SIGKILL')
    await joining
    const joined = devices.filter((d) => d.last)
    assert.equal(joined.length, USES, 'as many as the token is for, whichever hub answered')
    assert.ok(devices.filter((d) => !d.last).every((d) => d.refused === 'MESH_TOKEN_INVALID'))
    assert.equal((await registry.tokens())[0]!.uses, USES)
    await until('all have streams at the hub that lives', () => joined.every((d) => d.isStreaming))

    const revoked = joined.filter((d) => REVOKED.includes(d.name))
    const stay = joined.filter((d) => !revoked.includes(d))
    const load = renewAll(joined, 20)
    for (const device of revoked) {
      await command(second, 'device', 'revoke', device.name)
      const atMs = performance.now()
      await until(`the stream of ${device.name} has ended`, () => !device.isStreaming)
      t.diagnostic(`${device.name}: its stream ended ${Math.round(device.endedMs - atMs)} ms after the command`)
    }
    await load
    await until('the revoked have heard it', async () => {
      await renewAll(revoked, 1)
      return revoked.every((d) => d.refused === 'MESH_DEVICE_REVOKED')
    })
    await checkKept(site, stay)
    // Who is connected is written once a second.
    await until('nobody shows them as connected', async () => {
      const shown = await registry.devices()
      return revoked.every((d) => shown.find((one) => one.name === d.name)?.connectedMs === null)
    })

    const under = renewAll(stay, 20)
    await site.server.stop('immediate')
    assert.ok(
      stay.every((d) => d.isStreaming),
      'streams go on without the database',
    )
    await site.server.start()
    await under
    await checkKept(site, stay)
    await until('all are connected', async () => {
      const rows = await registry.devices().catch(() => [])
      return rows.filter((d) => d.connectedMs !== null).length === stay.length
    })
  },
)

test(
  'revoked at one hub, the stream at the other ends, and both refuse from then on',
  { timeout: 120_000 },
  async (t) => {
    const site = await startSite(t)
    const { devices, first, second } = site
    const six = devices.slice(0, 6)
    await Promise.all(six.map((device) => device.join(site.token)))
    await until('all have streams, by turns at both', () => six.every((d) => d.isStreaming))
    await Promise.all([command(first, 'device', 'revoke', 'gw-0'), command(second, 'device', 'revoke', 'gw-1')])
    const atMs = performance.now()
    await until('the streams have ended', () => !six[0]!.isStreaming && !six[1]!.isStreaming)
    for (const device of six.slice(0, 2))
      t.diagnostic(`${device.name}: its stream ended ${Math.round(device.endedMs - atMs)} ms after both commands`)
    for (let i = 0; i < 2; i++) await renewAll(six, 1)
    assert.deepEqual(
      six.map((d) => [d.refused, d.isStreaming]),
      six.map((_, n) => (n < 2 ? ['MESH_DEVICE_REVOKED', false] : [undefined, true])),
    )
  },
)
