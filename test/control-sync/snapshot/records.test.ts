/**
 * The stored configuration under a key: neither a resource nor its name stands in clear, in no file of the store,
 * wherever it came from.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import Database from 'better-sqlite3'
import fs from 'node:fs'
import zlib from 'node:zlib'
import { createSealer } from '../../../core/pki/sealing.ts'
import { MIGRATIONS } from '../../../control-sync/snapshot/records.ts'
import type { Change } from '../../../control-sync/apply.ts'
import { sample } from '../../helpers/control-plane/resources.ts'
import { change, cluster, SnapshotDisk, timeoutOf, valueOf } from '../../helpers/disk/snapshot-disk.ts'

const SOON_MS = 11_000
const [NAME, ADDRESS] = ['a-secret-name', 'a-secret-address.example']
const secret = (timeout: string, name = NAME): Change =>
  change(
    'cluster',
    sample({
      '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
      name,
      type: 'STRICT_DNS',
      connect_timeout: timeout,
      load_assignment: {
        cluster_name: name,
        endpoints: [
          { lb_endpoints: [{ endpoint: { address: { socket_address: { address: ADDRESS, port_value: 1 } } } }] },
        ],
      },
    } as Parameters<typeof sample>[0]),
  )
/** Its references hold a name, too. */
const routes = change(
  'route',
  sample({
    '@type': 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
    name: `${NAME}-routes`,
    virtual_hosts: [{ name: 'v', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: NAME } }] }],
  } as Parameters<typeof sample>[0]),
)
const key = createSealer(Buffer.alloc(32, 1), 'key')
const inClear = (disk: SnapshotDisk): string[] => [...disk.holds(NAME), ...disk.holds(ADDRESS)]

/** A file as schema 2 left it. @param sealer values were sealed, names never */
function ofSchema2(
  disk: SnapshotDisk,
  sealer: typeof key | undefined,
  changes: readonly (Change & { readonly ended?: boolean })[],
): void {
  const db = new Database(disk.storage.path)
  for (const sql of MIGRATIONS.slice(0, 2)) db.exec(sql)
  db.pragma('user_version = 2')
  db.exec(`INSERT INTO state VALUES ('node', 'n'), ('generation', '7'), ('saved_at_ms', '5000')`)
  for (const {
    kind,
    put: [one],
    ended,
  } of changes) {
    const value = sealer ? sealer.seal(one!.value, `snapshot ${kind} ${one!.name}`) : one!.value
    db.prepare(
      'INSERT INTO resource (kind, name, from_generation, to_generation, hash, version, refs, value, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
    ).run(
      kind,
      one!.name,
      ended ? 6 : 7,
      ended ? 7 : null,
      'h',
      'v',
      JSON.stringify({ cluster: [NAME] }),
      value,
      zlib.crc32(value),
    )
  }
  db.close()
}

test('what comes under a key never stands in clear: not in the file, its log or its copy', async (t) => {
  const disk = new SnapshotDisk(t)
  disk.copyIntervalMs = 1
  {
    await using run = await disk.run()
    await run.applier.apply([secret('1s'), routes])
    await disk.pass(SOON_MS)
    assert.ok(disk.holds(NAME).length > 0, 'so the look finds it')
    assert.ok(disk.holds(ADDRESS).length > 0)
  }
  const other = new SnapshotDisk(t)
  other.copyIntervalMs = 1
  other.sealer = key
  {
    await using run = await other.run()
    await run.applier.apply([secret('1s'), routes])
    await other.pass(1_000)
    assert.ok(fs.statSync(`${other.storage.path}-wal`).size > 0)
    assert.deepEqual(inClear(other), [])
    await other.pass(SOON_MS)
    await run.applier.apply([secret('2s')])
    await other.pass(1_000)
    await other.pass(SOON_MS)
    assert.equal(other.storage.copies.length, 2)
    assert.deepEqual(inClear(other), [])
  }
  await using again = await other.run()
  assert.equal(timeoutOf(again.applier, NAME), valueOf(secret('2s')))
  assert.deepEqual(again.applier.references('route', `${NAME}-routes`), { cluster: [NAME] })
  assert.deepEqual(inClear(other), [])
})

const BEFORE: Readonly<Record<string, (disk: SnapshotDisk) => void | Promise<void>>> = {
  'a file and a copy of before there was a key': async (disk) => {
    await using run = await disk.run()
    await run.applier.apply([secret('1s'), routes])
    await disk.pass(1_000)
    await disk.pass(SOON_MS)
    await run.applier.apply([secret('2s')])
  },
  'a sealed file of schema 2': (disk) => ofSchema2(disk, key, [{ ...secret('1s'), ended: true }, secret('2s'), routes]),
  'a plain file of schema 2': (disk) =>
    ofSchema2(disk, undefined, [{ ...secret('1s'), ended: true }, secret('2s'), routes]),
}
for (const [what, before] of Object.entries(BEFORE)) {
  test(`${what}: rewritten at the start, nothing in clear is left, nothing is lost`, async (t) => {
    const disk = new SnapshotDisk(t)
    disk.copyIntervalMs = 1
    await before(disk)
    assert.ok(disk.holds(NAME).length > 0)
    disk.sealer = key
    for (let start = 0; start < 2; start++) {
      await using run = await disk.run()
      assert.equal(timeoutOf(run.applier, NAME), valueOf(secret('2s')))
      assert.deepEqual(run.applier.references('route', `${NAME}-routes`), { cluster: [NAME] })
      assert.deepEqual([run.damaged, run.damage], [[], []])
      assert.deepEqual(inClear(disk), [])
    }
    const db = new Database(disk.storage.path)
    assert.equal(db.pragma('freelist_count', { simple: true }), 0)
    db.exec('UPDATE record SET crc = crc + 1 WHERE to_generation IS NULL')
    db.close()
    await using again = await disk.run()
    assert.equal(timeoutOf(again.applier, NAME), valueOf(secret('1s')), 'the version before is there as well')
    assert.equal(again.damaged.length, 2)
  })
  test(`${what}: stopped in the middle of it, the next start ends it`, async (t) => {
    for (const failing of ['sealing', 'copying', 'unmarking']) {
      const disk = new SnapshotDisk(t)
      disk.copyIntervalMs = 1
      await before(disk)
      const hasCopy = fs.existsSync(disk.previous)
      if (failing === 'copying' && !hasCopy) continue
      disk.sealer = key
      const full = { when: 'after', code: 'MESH_STORAGE_FULL' } as const
      if (failing === 'copying') disk.storage.copyFaults = ['MESH_STORAGE_FULL']
      else disk.storage.faults = failing === 'sealing' ? [full] : [undefined, full]
      await assert.rejects(disk.run(), { code: 'MESH_STORAGE_FULL' })
      assert.equal(inClear(disk).length > 0, failing !== 'unmarking')
      await using run = await disk.run()
      assert.equal(timeoutOf(run.applier, NAME), valueOf(secret('2s')))
      assert.deepEqual(inClear(disk), [])
    }
  })
}

test('a row of schema 2 that was damaged stays damaged when it is sealed, and the version before serves', async (t) => {
  for (const sealer of [key, undefined]) {
    const disk = new SnapshotDisk(t)
    ofSchema2(disk, sealer, [{ ...secret('1s'), ended: true }, secret('2s'), routes])
    const db = new Database(disk.storage.path)
    db.exec(
      `UPDATE resource SET value = substr(value, 1, 40) || x'00' || substr(value, 42) WHERE to_generation IS NULL AND kind = 'cluster'`,
    )
    db.close()
    disk.sealer = key
    for (let start = 0; start < 2; start++) {
      await using run = await disk.run()
      assert.equal(timeoutOf(run.applier, NAME), valueOf(secret('1s')))
      assert.deepEqual(run.damaged, [`cluster ${NAME}`])
      assert.match(run.damage[0]!.message, /^1 stored resources are damaged/)
      assert.deepEqual(inClear(disk), [])
    }
  }
})

test('a plain file of schema 2 moves forward without a key, ages and previous versions included', async (t) => {
  const disk = new SnapshotDisk(t)
  ofSchema2(disk, undefined, [{ ...secret('1s'), ended: true }, secret('2s'), routes])
  await using run = await disk.run()
  assert.deepEqual(
    [run.applier.generation, run.applier.snapshot.savedAtMs, timeoutOf(run.applier, NAME), run.damage],
    [7, 5000, valueOf(secret('2s')), []],
  )
  assert.deepEqual(run.applier.references('route', `${NAME}-routes`), { cluster: [NAME] })
})
test("a row that stands in another's place is damaged, sealed or not", async (t) => {
  for (const sealer of [key, undefined]) {
    const disk = new SnapshotDisk(t)
    disk.sealer = sealer
    {
      await using run = await disk.run()
      await run.applier.apply([cluster('a', '1s'), cluster('b', '2s')])
    }
    const db = new Database(disk.storage.path)
    const [one, two] = db.prepare('SELECT key, crc, head, value FROM record').all() as {
      key: unknown
      crc: number
      head: string
      value: Buffer
    }[]
    for (const [from, to] of [
      [one!, two!],
      [two!, one!],
    ] as const)
      db.prepare('UPDATE record SET crc = ?, head = ?, value = ? WHERE key = ?').run(
        from.crc,
        from.head,
        from.value,
        to.key,
      )
    db.close()
    await using run = await disk.run()
    assert.deepEqual([run.applier.snapshot.resources.cluster.size, run.damaged.length], [0, 2])
  }
})
test('another key, or none, is told from damage, for the file and for what comes back from the copy', async (t) => {
  const disk = new SnapshotDisk(t)
  disk.copyIntervalMs = 1
  disk.sealer = key
  {
    await using run = await disk.run()
    await run.applier.apply([secret('1s')])
    await disk.pass(1_000)
    await disk.pass(SOON_MS)
  }
  for (const damage of [false, true]) {
    if (damage) fs.writeFileSync(disk.storage.path, 'x'.repeat(10_000))
    for (const other of [undefined, createSealer(Buffer.alloc(32, 2), 'key')]) {
      disk.sealer = other
      await assert.rejects(disk.run(), { code: 'MESH_STATE_LOCKED' })
    }
  }
  disk.sealer = key
  await using again = await disk.run()
  assert.deepEqual(again.damaged, [])
  assert.equal(timeoutOf(again.applier, NAME), valueOf(secret('1s')))
})

/** As large as that of some hundred services. */
const largeTable = (last: string): Change =>
  change(
    'route',
    sample({
      '@type': 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
      name: 'large',
      virtual_hosts: [...Array.from({ length: 500 }, (_, i) => `svc-${i}.shop.svc.cluster.local`), last].map(
        (host) => ({
          name: host,
          domains: [host, `${host}.`],
          routes: [{ match: { prefix: '/' }, route: { cluster: NAME } }],
        }),
      ),
    } as Parameters<typeof sample>[0]),
  )
for (const [how, sealer] of [
  ['in clear', undefined],
  ['sealed', key],
] as const)
  test(`a large resource is stored compressed, ${how}, and served from there`, async (t) => {
    const disk = new SnapshotDisk(t)
    disk.sealer = sealer
    {
      await using run = await disk.run()
      await run.applier.apply([largeTable('one.example'), secret('1s')])
      await run.applier.apply([largeTable('two.example')])
      await disk.pass(1_000)
    }
    const bytes = valueOf(largeTable('two.example')).length / 2
    const db = new Database(disk.storage.path)
    const { longest } = db.prepare('SELECT max(length(value)) AS longest FROM record').get() as { longest: number }
    assert.ok(longest < bytes / 4, `${longest} of ${bytes} bytes`)
    assert.equal(db.pragma('user_version', { simple: true }), MIGRATIONS.length, 'so that earlier versions leave it')
    db.close()
    await using again = await disk.run()
    assert.deepEqual(again.damaged, [])
    const stored = again.applier.snapshot.resources.route.get('large')!
    assert.equal(Buffer.from(stored.value).toString('hex'), valueOf(largeTable('two.example')))
    assert.deepEqual(again.applier.references('route', 'large'), { cluster: [NAME] })
    // What came before comes again: the start has packed nothing anew, and the comparison reads what is packed.
    assert.equal((await again.applier.apply([largeTable('two.example')])).changed, 0)
    assert.equal((await again.applier.apply([largeTable('two.example.org')])).changed, 1)
  })

test('a compressed value of which a byte was flipped is damaged', async (t) => {
  const disk = new SnapshotDisk(t)
  {
    await using run = await disk.run()
    await run.applier.apply([largeTable('one.example'), secret('1s')])
    await disk.pass(1_000)
  }
  const db = new Database(disk.storage.path)
  const { value } = db.prepare("SELECT value FROM record WHERE key = 'route large'").get() as { value: Buffer }
  value[value.length >> 1]! ^= 1
  db.prepare("UPDATE record SET value = ? WHERE key = 'route large'").run(value)
  db.close()
  await using again = await disk.run()
  assert.deepEqual(again.damaged, ['route large'])
})
