/** Saver and store together, over real SQLite with commits that can fail, and a clock under the test's hand. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import Database from 'better-sqlite3'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { Current } from '../../agent/core/current.ts'
import { silentLog } from '../../agent/core/log.ts'
import { sealerOf, type Sealer } from '../../agent/core/sealed.ts'
import { Metrics } from '../../agent/core/metrics.ts'
import { EMPTY_TABLES, type Tables } from '../../agent/model/tables.ts'
import { Applier, type Change } from '../../control-sync/apply.ts'
import { SnapshotSaver } from '../../control-sync/snapshot-saver.ts'
import { openSnapshotStore, type SnapshotStore } from '../../control-sync/snapshot-store.ts'
import { FaultyStorage } from '../helpers/faulty-storage.ts'
import { sample } from '../helpers/resources.ts'
import { settle, SimClock } from '../helpers/sim-clock.ts'

const HOUR_MS = 3_600_000
const cluster = (name: string, timeout = '1s'): Change => change('cluster', sample({ '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster', name, type: 'STATIC', connect_timeout: timeout }))
const load = (cluster_name: string): Change => change('endpoint', sample({ '@type': 'type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment', cluster_name }))
function change(kind: Change['kind'], { name, bytes }: { name: string; bytes: Uint8Array }): Change { return { kind, removed: [], put: [{ name, version: '', value: bytes }] } }

class Disk {
  readonly clock = new SimClock()
  readonly storage: FaultyStorage
  constructor(t: TestContext) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-snapshot-'))
    t.after(() => { fs.rmSync(folder, { recursive: true, force: true }) })
    this.storage = new FaultyStorage(path.join(folder, 'snapshot.db'))
  }
  get writes(): number { return this.storage.commits.length }

  sealer: Sealer | undefined
  /** One run of an agent, as far as its configuration goes. */
  async run(): Promise<AsyncDisposable & { applier: Applier; store: SnapshotStore; damaged: readonly string[] }> {
    const store = await openSnapshotStore(this.storage.open, this.storage.path, this.sealer)
    const shared = { node: 'n', clock: this.clock, log: silentLog, metrics: new Metrics() }
    const saver = new SnapshotSaver({ ...shared, store })
    const applier = new Applier({ ...shared, saver, tables: new Current<Tables>(EMPTY_TABLES) })
    const stored = await store.load('n')
    if (stored) applier.restore(stored)
    return { applier, store, damaged: stored?.damaged ?? [], [Symbol.asyncDispose]: async () => { await saver[Symbol.asyncDispose](); await store[Symbol.asyncDispose]() } }
  }
  /** Lets time pass, and what the disk is doing come to its end. */
  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms)
    for (let i = 0; i < 50; i++) { await settle(); await new Promise((resolve) => { setTimeout(resolve, 1) }) }
  }
}
const timeoutOf = (applier: Applier, name: string): string => Buffer.from(applier.snapshot.resources.cluster.get(name)!.value).toString('hex')

test('the messages of one push are written once, when nothing more has come for half a second', async (t) => {
  const disk = new Disk(t)
  await using run = await disk.run()
  for (const one of [cluster('a'), cluster('b'), load('a'), load('b')]) { await run.applier.apply([one]); await disk.clock.advance(100) }
  assert.equal(disk.writes, 0)
  await disk.pass(400)
  assert.equal(disk.writes, 1)
  assert.equal(run.applier.storageError, undefined)
})

test('what has not changed writes nothing', async (t) => {
  const disk = new Disk(t)
  await using run = await disk.run()
  await run.applier.apply([cluster('a')])
  await disk.pass(1_000)
  for (let i = 0; i < 3; i++) { await run.applier.apply([cluster('a')]); await disk.pass(10_000) }
  assert.equal(disk.writes, 1)
})

test('changes without end are written every five seconds', async (t) => {
  const disk = new Disk(t)
  await using run = await disk.run()
  for (let i = 0; i < 40; i++) { await run.applier.apply([cluster('a', `${i + 1}s`)]); await disk.pass(250) }
  assert.ok(disk.writes >= 1 && disk.writes <= 3, `${disk.writes} writes in ten seconds`)
})

test('a disk that is full: said so, served on, tried again, and then nothing is missing', async (t) => {
  const disk = new Disk(t)
  {
    await using run = await disk.run()
    disk.storage.faults = [{ when: 'before', code: 'MESH_STORAGE_FULL' }]
    await run.applier.apply([cluster('a', '1s')])
    await run.applier.apply([cluster('b')])
    await disk.pass(1_000)
    assert.equal(run.applier.storageError?.code, 'MESH_STORAGE_FULL')
    assert.equal(run.applier.snapshot.resources.cluster.size, 2)
    await run.applier.apply([cluster('a', '2s')])
    await disk.pass(31_000)
    assert.equal(run.applier.storageError, undefined)
  }
  await using again = await disk.run()
  assert.deepEqual([...again.applier.snapshot.resources.cluster.keys()].sort(), ['a', 'b'])
  assert.equal(timeoutOf(again.applier, 'a'), Buffer.from(cluster('a', '2s').put[0]!.value).toString('hex'), 'the newer version, not the one of the failed write')
})

test('what was not yet written is written at the end of the run', async (t) => {
  const disk = new Disk(t)
  { await using run = await disk.run(); await run.applier.apply([cluster('a')]) }
  await using again = await disk.run()
  assert.deepEqual([...again.applier.snapshot.resources.cluster.keys()], ['a'])
  assert.equal(again.applier.stale, true)
})

test('a run that ends on a full disk leaves nothing behind that waits', async (t) => {
  const disk = new Disk(t)
  {
    await using run = await disk.run()
    disk.storage.faults = [{ when: 'before', code: 'MESH_STORAGE_FULL' }]
    await run.applier.apply([cluster('a')])
  }
  assert.equal(disk.clock.pendingTimers, 0)
})

test('a resource whose bytes have changed on the disk is served in its version before, or not at all, and named', async (t) => {
  const disk = new Disk(t)
  {
    await using run = await disk.run()
    await run.applier.apply([cluster('a', '1s'), cluster('new')])
    await disk.pass(1_000)
    await run.applier.apply([cluster('a', '2s')])
    await disk.pass(1_000)
  }
  const db = new Database(disk.storage.path)
  db.exec(`UPDATE resource SET value = x'00' || substr(value, 2) WHERE to_generation IS NULL`)
  db.close()
  await using again = await disk.run()
  assert.deepEqual([...again.damaged].sort(), ['cluster a', 'cluster new'])
  assert.equal(timeoutOf(again.applier, 'a'), Buffer.from(cluster('a', '1s').put[0]!.value).toString('hex'))
  assert.equal(again.applier.snapshot.resources.cluster.has('new'), false)
})

test('a file of the first schema is read and moved forward', async (t) => {
  const disk = new Disk(t)
  const { name, value } = cluster('old').put[0]!
  const db = new Database(disk.storage.path)
  db.exec(`CREATE TABLE resource (kind TEXT NOT NULL, name TEXT NOT NULL, from_generation INTEGER NOT NULL, to_generation INTEGER, hash TEXT NOT NULL, version TEXT NOT NULL, refs TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, name, from_generation)) WITHOUT ROWID;
    CREATE INDEX resource_ended ON resource (to_generation) WHERE to_generation IS NOT NULL; CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID; PRAGMA user_version = 1`)
  db.prepare('INSERT INTO resource VALUES (?, ?, 1, NULL, ?, ?, ?, ?)').run('cluster', name, 'h', '', '{}', value)
  db.exec(`INSERT INTO state VALUES ('node', 'n'), ('generation', '1')`)
  db.close()
  await using run = await disk.run()
  assert.deepEqual([...run.applier.snapshot.resources.cluster.keys()], ['old'])
  assert.deepEqual(run.damaged, [])
})

test('the time of the last contact and of the last change of a kind outlive the run', async (t) => {
  const disk = new Disk(t)
  const start = disk.clock.wallMs()
  {
    await using run = await disk.run()
    await run.applier.apply([cluster('a')])
    await disk.pass(HOUR_MS)
    await run.applier.apply([load('a')])
    await disk.pass(2 * HOUR_MS)
    // Nothing new, but the control plane is there.
    await run.applier.apply([load('a')])
  }
  const written = disk.writes
  await using again = await disk.run()
  assert.equal(again.applier.contactAtMs, start + 3 * HOUR_MS)
  assert.deepEqual(again.applier.changedAtMs, { cluster: start, endpoint: start + HOUR_MS })
  assert.equal(written, 3, 'two changes, and the contact at the end')
})

test('what another node left is not served and does not stay', async (t) => {
  const disk = new Disk(t)
  { await using run = await disk.run(); await run.applier.apply([cluster('a')]) }
  await using again = await disk.run()
  assert.equal(await again.store.load('m'), undefined)
  await again.store.save({ node: 'm', generation: 1, savedAtMs: 0, contactAtMs: undefined, changedAtMs: {}, changes: [] })
  assert.equal((await again.store.load('m'))?.snapshot.resources.cluster.size, 0)
})

test('with a key no resource stands on the disk in plain text, also none that was stored before; another key, or none, is told from damage', async (t) => {
  const disk = new Disk(t)
  const stands = (): boolean => ['', '-wal'].some((suffix) => fs.existsSync(disk.storage.path + suffix) && fs.readFileSync(disk.storage.path + suffix).includes('a-secret-address.example'))
  const secret = (timeout: string): Change => change('cluster', sample({ '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster', name: 'a', type: 'STRICT_DNS', connect_timeout: timeout, load_assignment: { cluster_name: 'a', endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 'a-secret-address.example', port_value: 1 } } } }] }] } } as Parameters<typeof sample>[0]))
  { await using run = await disk.run(); await run.applier.apply([secret('1s')]) }
  assert.equal(stands(), true, 'so the look finds it')
  disk.sealer = sealerOf(Buffer.alloc(32, 1), 'key')
  {
    await using run = await disk.run()
    assert.equal(run.applier.snapshot.resources.cluster.size, 1)
    await run.applier.apply([secret('2s')])
  }
  assert.equal(stands(), false)
  for (const other of [undefined, sealerOf(Buffer.alloc(32, 2), 'key')]) {
    disk.sealer = other
    await assert.rejects(disk.run(), { code: 'MESH_STATE_LOCKED' })
  }
  disk.sealer = sealerOf(Buffer.alloc(32, 1), 'key')
  await using again = await disk.run()
  assert.deepEqual(again.damaged, [])
  assert.equal(timeoutOf(again.applier, 'a'), Buffer.from(secret('2s').put[0]!.value).toString('hex'))
})
