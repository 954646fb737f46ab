/** A year in a cupboard: the certificate has ended, the clock stands in 1970, the token is long gone. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { silentLog } from '../../../core/log.ts'
import { createRealWorld } from '../../../core/real-world.ts'
import { systemClock, systemRandom, type Clock } from '../../../core/os/clock.ts'
import { systemDisk } from '../../../core/os/disk.ts'
import { openCa } from '../../../hub/ca/ca.ts'
import { parseHubConfig } from '../../../hub/config.ts'
import { startHub, type Hub } from '../../../hub/hub.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { until, type Finally } from '../site.ts'
import { makeCsr } from '../../hub/ca/make-csr.ts'
import { device, startDevice, type Device } from './device.ts'
import { freePorts } from '../../../tools/free-ports.ts'

const YEAR_MS = 365 * 86_400_000
const wallBy = (offsetMs: number): Clock => ({
  ...systemClock,
  wallMs: () => systemClock.wallMs() + offsetMs,
  monotonicMs: () => systemClock.monotonicMs(),
  after: (ms, fn) => systemClock.after(ms, fn),
  sleep: (ms, signal) => systemClock.sleep(ms, signal),
})

type At = 'api' | 'relay'
async function hubAt(t: Finally, folder: string, at: At, ports: readonly number[], clock: Clock): Promise<Hub> {
  const config = parseHubConfig(
    `listen: 127.0.0.1:${ports[0]}\n${at}: {listen: "127.0.0.1:${ports[1]}"}\ndnsNames: [127.0.0.1]\ntrustDomain: demo.mesh\nresources: ${folder}/resources\nstate: ${folder}/state\nadmin: {port: 0}\n`,
  )
  const hub = await startHub(config, { clock, random: systemRandom, disk: systemDisk }, { log: silentLog })
  t.after(async () => hub[Symbol.asyncDispose]())
  return hub
}

/** What a device has, and what the hub knows of it, when its last certificate was given a year ago. */
async function leaveForAYear({ state }: Device, { registry }: Hub, folder: string): Promise<void> {
  const clock = wallBy(-YEAR_MS)
  const ca = openCa({ folder: `${folder}/state/ca`, disk: systemDisk, clock, trustDomain: 'demo.mesh' })
  const { csrPem, keyPem } = makeCsr()
  const { chainPem, notAfterMs } = ca.sign({
    csrPem,
    spiffeUri: 'spiffe://demo.mesh/ns/edge/sa/gateway',
    ttlSec: 86_400,
  })
  const identity = { keyPem, chainPem: chainPem[0], rootsPem: chainPem[1] }
  fs.writeFileSync(`${state}/identity/identity.json`, JSON.stringify(identity), { mode: 0o600 })
  fs.rmSync(`${state}/identity/time-floor.json`, { force: true })
  const known = (await registry.enrollments.byName('gw-1'))!
  await registry.enrollments.renewed('gw-1', { ...known, nowMs: clock.wallMs(), notAfterMs })
}

for (const at of ['api', 'relay'] as const)
  test(`a device comes back by itself over the ${at}: its key is enough, and what the hub signs says how late it is`, async (t) => {
    const [folder, ports] = [temporaryFolder(t), await freePorts(2)]
    // OpenSSL goes by the system's clock, so it is the past that is made up: the CA is two years old.
    const past = await hubAt(t, folder, at, ports, wallBy(-2 * YEAR_MS))
    await past[Symbol.asyncDispose]()
    const hub = await hubAt(t, folder, at, ports, systemClock)
    const d = device(t, { hub: { apiPort: ports[1] } })
    const { token } = await hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: 'gw-1', maxUses: 1 })
    assert.equal((await d.join(token)).code, 0)
    await leaveForAYear(d, hub, folder)

    const world = { ...createRealWorld({ bundle: undefined }), clock: wallBy(-systemClock.wallMs()) }
    const agent = await startDevice(t, d, world)
    await agent.connected()
    const events = async (): Promise<string[]> =>
      (await hub.registry.audit.list({ subject: 'gw-1', most: 9 })).map((r) => r.event)
    await until('it is written down', async () => (await events()).includes('device.returned'))
    assert.deepEqual(await events(), ['device.joined', 'device.returned'])
    assert.ok(agent.problems().includes('MESH_CLOCK_WRONG'), 'and it says that its clock is wrong')
    assert.ok((await hub.registry.enrollments.byName('gw-1'))!.counter >= 2)
  })
