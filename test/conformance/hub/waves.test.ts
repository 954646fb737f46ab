/**
 * Two shipped hubs on Debian's PostgreSQL drive one rollout: the one that drives is killed in a wave, and the other goes
 * on. Hubs that come back, or come anew, with the folder of before bring nothing back.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { OpenRegistry } from '../../../hub/registry/registry.ts'
import { findDebianProgram } from '../../../tools/debian.ts'
import { findPostgres, openStore, startPostgres } from '../../hub/registry/postgres/server.ts'
import { makeCluster } from '../../hub/source/resource-files.ts'
import { sleep, until, type Finally } from '../programs.ts'
import { command, SimulatedDevice, startBalancer, startHub, startReplica, type Replica } from './rig.ts'

findDebianProgram('postgres')

const DEVICES = 12
const SETTINGS = 'rollout: {atOnceBelow: 1, waves: "25%,50%,100%", soakSec: 8, awaySec: 20, halt: "rejected>0"}\n'
const FIRST = { 'mesh.yaml': makeCluster('a') }
/** What takes everything away would wait for an operator. */
const withA = (name: string): string => makeCluster('a') + makeCluster(name).slice('resources:\n'.length)
const SECOND = withA('b')

const write = ({ config }: Replica, text: string): void =>
  fs.writeFileSync(path.join(path.dirname(config), 'resources/mesh.yaml'), text)
/** Waves that it has begun, and the end, as its log has them. */
const decisionsOf = ({ running }: Replica): readonly string[] =>
  running.log
    .split('\n')
    .filter((line) => line.includes('"evt":"hub.rollout"'))
    .map((line) => JSON.parse(line) as { wave: number; state: string; to: string })
    .map(({ wave, state }) => `${state} ${wave}`)

/** All three hubs and the devices have the first revision; then the third hub is gone, before anything has changed. */
async function startSite(t: Finally) {
  const server = await startPostgres(t, findPostgres()!)
  const settings = server.settings()
  const o = { settings: SETTINGS, resources: FIRST }
  const first = await startReplica(t, settings.url, undefined, o)
  const second = await startReplica(t, settings.url, first, o)
  const late = await startReplica(t, settings.url, first, o)
  const registry = new OpenRegistry(await openStore(settings))
  t.after(() => registry[Symbol.asyncDispose]())
  const roots = fs.readFileSync(path.join(path.dirname(first.config), 'state/ca/root-cert.pem'), 'utf8')
  const api = await startBalancer(t, [first.api, second.api])
  const grpc = await startBalancer(t, [first.grpc, second.grpc])
  const devices = Array.from({ length: DEVICES }, (_, n) => new SimulatedDevice(`gw-${n}`, { api, grpc, roots }))
  t.after(() => {
    for (const device of devices) device.leave()
  })
  const words = ['token', 'create', '-n', 'edge', '-s', 'gateway', '--name-pattern', 'gw-*']
  const token = (await command(first, ...words)).trim()
  await Promise.all(devices.map((device) => device.join(token)))
  const all = async (revision: string): Promise<boolean> => {
    const states = await registry.fleet.states()
    return states.length === DEVICES && states.every((d) => d.isConnected && d.inForce === revision)
  }
  const before = (await registry.rollouts.assignments())[0]!.revision
  await until('all have the first', () => all(before))
  await until('every hub has told its folder', async () => (await registry.rollouts.folders()).size === 3)
  await late.running.stop('SIGKILL')
  return {
    registry,
    devices,
    first,
    second,
    late,
    before,
    all,
    startFresh: () => startReplica(t, settings.url, first, o),
  }
}
type Site = Awaited<ReturnType<typeof startSite>>

/** One comes back with the folder that it went with, and one is new. */
async function checkLateFolders(
  site: Site,
  p: { readonly id: string; readonly to: string; readonly status: () => Promise<string> },
): Promise<void> {
  const { registry, late, all } = site
  const { id, to } = p
  const fresh = await site.startFresh()
  for (const { running } of [late, fresh])
    await running.until('its folder is told', () => running.log.includes('"evt":"hub.folder-behind"'))
  await sleep(5_000)
  assert.equal((await registry.rollouts.list(1))[0]!.id, id, 'nothing was rolled out')
  assert.ok(await all(to))
  assert.match(await p.status(), /the folder of hub .* still has the revision .* make it equal/)
  // Once it has caught up, what it says counts.
  write(late, SECOND)
  await late.running.until(
    'it has caught up',
    async () => [...(await registry.rollouts.folders()).values()].filter(({ behind }) => behind !== '').length === 1,
  )
  write(late, SECOND + makeCluster('c').slice('resources:\n'.length))
  await until('a change of it is one', async () => (await registry.rollouts.list(1))[0]!.id !== id)
}

test(
  'the hub that drives is killed in a wave: the other goes on, once; late folders bring nothing back',
  { timeout: 280_000 },
  async (t) => {
    const site = await startSite(t)
    const { registry, devices, first, second, late, before, all } = site
    write(first, SECOND)
    await until('a wave has begun', async () => (await registry.rollouts.active())?.wave === 0)
    write(second, SECOND)
    const { id, to } = (await registry.rollouts.active())!
    await until('the second wave has begun', async () => (await registry.rollouts.active())?.wave === 1, 60_000)
    await until('one says so', () => [first, second].some((hub) => decisionsOf(hub).includes('running 2')))
    const [driver, other] = decisionsOf(first).includes('running 2') ? [first, second] : [second, first]
    assert.ok(!decisionsOf(other).some((what) => what.startsWith('running')), 'both live, one drives')
    await driver.running.stop('SIGKILL')
    await until('it is completed', async () => (await registry.rollouts.get(id))?.state === 'completed', 120_000)
    await until('all have it', () => all(to), 60_000)
    await until('it says so', () => decisionsOf(other).includes('completed 3'))
    assert.deepEqual(decisionsOf(other).slice(-2), ['running 3', 'completed 3'])
    assert.deepEqual(
      (await registry.audit.list({ subject: id, most: 20 })).map(({ event }) => event),
      ['rollout.started', 'rollout.wave', 'rollout.wave', 'rollout.completed'],
      'no wave twice',
    )
    for (const { name, sent } of devices) assert.deepEqual(sent, [before, to], `${name} never went back`)

    driver.running = startHub(t, driver.config)
    await driver.running.listening(driver.api)
    late.running = startHub(t, late.config)
    await checkLateFolders(site, { id, to, status: () => command(other, 'rollout', 'status') })
  },
)
