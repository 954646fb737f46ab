import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { loadConfig } from '../../agent/config/load.ts'
import { openSource, type IdentityOptions, type Source } from '../../agent/identity-source.ts'
import { Readiness } from '../../agent/readiness.ts'
import { IdentityStore } from '../../control-sync/identity/identity-store.ts'
import { TimeFloor } from '../../control-sync/identity/time-floor.ts'
import { Trust } from '../../control-sync/identity/trust.ts'
import { silentLog } from '../../core/log.ts'
import { Metrics } from '../../core/metrics.ts'
import { systemDisk } from '../../core/os/disk.ts'
import type { World } from '../../core/world.ts'
import type { Identity } from '../../model/identity.ts'
import { settle, SimClock } from '../helpers/sim-clock.ts'
import { SimNetwork } from '../helpers/sim-network.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'
import { testCa } from '../helpers/test-ca.ts'

const log = silentLog
const ca = testCa()

/** @param yaml with FOLDER for the machine's own */
function machine(t: TestContext, yaml: string) {
  const folder = temporaryFolder(t)
  const clock = new SimClock(Date.now())
  const loaded = loadConfig(`state: ${folder}/state\n${yaml.replaceAll('FOLDER', folder)}`)
  const config = loaded.ok ? loaded.config : assert.fail(JSON.stringify(loaded.problems))
  const readiness = new Readiness()
  const disk = systemDisk
  const open = (over: Partial<IdentityOptions> = {}): Source => {
    const world = { clock, disk, random: { float: () => 0.5 }, network: new SimNetwork() } as unknown as World
    const floor = new TimeFloor({ disk, clock, log, stateFolder: config.state, builtAtMs: undefined })
    const trust = new Trust({ disk, log, rootsFile: undefined, crlFile: undefined, crlMayBeMissing: true })
    const options = { config, world, metrics: new Metrics(), log, earliestWallMs: undefined, readiness, ...over }
    return openSource(options, { floor, trust })
  }
  const store = (identity: Identity): void => {
    systemDisk.makeFolder(`${config.state}/identity`, 0o700)
    new IdentityStore({ disk, clock, log, stateFolder: config.state }).save(identity)
  }
  return { folder, clock, readiness, config, open, store }
}
function writeTo(folder: string, { chainPem, keyPem, rootsPem }: Identity): void {
  for (const [name, pem] of Object.entries({
    'cert-chain.pem': chainPem,
    'key.pem': keyPem,
    'root-cert.pem': rootsPem,
  }))
    fs.writeFileSync(path.join(folder, name), pem)
}
const codes = (source: Source): string[] => source.problems().map((p) => p.code)
const CONTROL = 'control: {address: "127.0.0.1:1", roots: FOLDER/roots.pem}\n'
const FOLDER = 'directory: FOLDER\nidentity: {folder: FOLDER}\n'

test('a folder that holds an identity: it is there at once, and nobody here renews it', async (t) => {
  const m = machine(t, FOLDER)
  const given = ca.issue('edge', 'gateway')
  writeTo(m.folder, given)
  await using source = m.open()
  await settle()
  assert.equal(source.current()?.spiffeId.uri, given.spiffeId.uri)
  assert.deepEqual(
    [m.readiness.pending, codes(source), source.renewalAtMs, source.setAside],
    [[], [], undefined, undefined],
  )
  source.certificateRefused()
})

test('a folder that is filled later: the agent waits, and watches from its start to its end', async (t) => {
  const m = machine(t, FOLDER)
  const source = m.open()
  await settle()
  assert.deepEqual([m.readiness.pending, codes(source)], [['a certificate'], ['MESH_CONFIG_INVALID']])
  const heard: (string | undefined)[] = []
  using _ = source.watch((next) => heard.push(next.serial))
  source.start()
  const given = ca.issue('edge', 'gateway')
  writeTo(m.folder, given)
  await m.clock.advance(60_000)
  assert.deepEqual([m.readiness.pending, codes(source), heard], [[], [], [source.current()?.serial]])
  await source[Symbol.asyncDispose]()
  assert.equal(m.clock.pendingTimers, 0)
})

test('a folder comes before the control plane', async (t) => {
  const m = machine(t, `${CONTROL}identity: {folder: FOLDER}\n`)
  writeTo(m.folder, ca.issue('edge', 'gateway'))
  m.store(ca.issue('other', 'one'))
  await using source = m.open()
  assert.equal(source.current()?.spiffeId.namespace, 'edge')
})

test('a control plane: what was stored serves, and is renewed in time', async (t) => {
  const m = machine(t, `${CONTROL}node: {namespace: edge, serviceAccount: gateway}\n`)
  m.store(ca.issue('edge', 'gateway', { ttlSec: 86_400 }))
  await using source = m.open()
  await settle()
  assert.equal(source.current()?.spiffeId.namespace, 'edge')
  assert.deepEqual([m.readiness.pending, codes(source), source.setAside], [[], [], undefined])
  source.start()
  await settle()
  assert.ok(source.renewalAtMs! > 3_600_000 && source.renewalAtMs! < 86_400_000, String(source.renewalAtMs))
})

test('a control plane and nothing stored: the agent waits, asks, and says why there is none', async (t) => {
  const m = machine(t, CONTROL)
  fs.writeFileSync(`${m.folder}/roots.pem`, ca.rootsPem)
  await using source = m.open()
  assert.deepEqual([source.current(), m.readiness.pending], [undefined, ['a certificate']])
  source.start()
  while (codes(source).length === 0) await new Promise(setImmediate)
  assert.deepEqual(codes(source), ['MESH_NO_IDENTITY'], 'there is no token either')
})

test('a stored identity that is damaged is set aside', async (t) => {
  const m = machine(t, CONTROL)
  fs.mkdirSync(`${m.config.state}/identity`, { recursive: true })
  fs.writeFileSync(`${m.config.state}/identity/identity.json`, 'x')
  await using source = m.open()
  assert.ok(source.setAside && fs.existsSync(source.setAside))
  assert.equal(source.current(), undefined)
})

test('a stored identity that is sealed with a key that is not here ends the start', async (t) => {
  const m = machine(t, `${CONTROL}identity: {encryptionKey: FOLDER/key}\n`)
  assert.throws(() => m.open(), { code: 'MESH_CONFIG_INVALID', message: /encryptionKey/ })
  fs.writeFileSync(`${m.folder}/key`, 'k'.repeat(32))
  m.store(ca.issue('default', 'default'))
  await using source = m.open()
  assert.ok(source.current())
  fs.writeFileSync(`${m.folder}/key`, 'o'.repeat(32))
  assert.throws(() => m.open(), { code: 'MESH_STATE_LOCKED' })
})

test('a directory without a folder for it: there is no identity, and none is waited for', async (t) => {
  const m = machine(t, 'directory: FOLDER\n')
  await using source = m.open()
  source.start()
  source.trustChanged()
  source.certificateRefused()
  using _ = source.watch(() => assert.fail('nothing changes'))
  assert.deepEqual(
    [source.current(), m.readiness.pending, codes(source), source.renewalAtMs],
    [undefined, [], [], undefined],
  )
  assert.equal(m.clock.pendingTimers, 0)
})

test('a clock that shows less than the date of the build is told, whatever the source', async (t) => {
  const earliestWallMs = Date.now() + 86_400_000
  for (const yaml of ['directory: FOLDER\n', CONTROL]) {
    await using source = machine(t, yaml).open({ earliestWallMs })
    assert.deepEqual(codes(source), ['MESH_CLOCK_WRONG'])
  }
})
