/**
 * What a bad disk does to the stored configuration: the file, its whole copy or parts of them are damaged or gone. What
 * serves then is told.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import Database from 'better-sqlite3'
import fs from 'node:fs'
import path from 'node:path'
import { cluster, load, SnapshotDisk, timeoutOf, valueOf } from '../../helpers/disk/snapshot-disk.ts'

const [HOUR_MS, SOON_MS] = [3_600_000, 11_000]
/** Large enough for a tree of several levels. */
const MANY = Array.from({ length: 600 }, (_, i) => cluster(`many-${i}`))
const COLUMNS = 'key, from_generation, to_generation, crc, head, value'

/** A disk with a copy of generation 1 and a file of generation 2, an hour younger. */
async function twoSnapshots(t: TestContext): Promise<SnapshotDisk> {
  const disk = new SnapshotDisk(t)
  disk.copyIntervalMs = 24 * HOUR_MS
  await using run = await disk.run()
  await run.applier.apply([...MANY, cluster('a', '1s'), load('a')])
  await disk.pass(SOON_MS)
  await disk.pass(HOUR_MS)
  await run.applier.apply([cluster('a', '2s')])
  return disk
}
/** Until a push has been saved, and then until a copy that is due has been made. */
async function soon(disk: SnapshotDisk): Promise<void> {
  for (const ms of [1_000, SOON_MS]) await disk.pass(ms)
}
const bytesOf = (disk: SnapshotDisk): Buffer => fs.readFileSync(disk.storage.path)
const write = (file: string, change: (bytes: Buffer) => Buffer): void =>
  fs.writeFileSync(file, change(fs.readFileSync(file)))
function sql(file: string, text: string): void {
  const db = new Database(file)
  db.exec(text)
  db.close()
}

const WHOLE: Readonly<Record<string, (bytes: Buffer) => Buffer>> = {
  'the first page is garbage': (bytes) => bytes.fill(0x5a, 0, 4096),
  'the first page is zero': (bytes) => bytes.fill(0, 0, 4096),
  'all pages are zero': (bytes) => bytes.fill(0),
  'cut to half': (bytes) => bytes.subarray(0, bytes.length >> 1),
  'cut in a page': (bytes) => bytes.subarray(0, (bytes.length >> 1) + 1_000),
  'cut to nothing': (bytes) => bytes.subarray(0, 0),
  'garbage from the second page on': (bytes) => bytes.fill(0x5a, 4096),
  'zeroed pages in the middle': (bytes) => bytes.fill(0, 5 * 4096, 15 * 4096),
  'something else': () => Buffer.from('certainly not a database '.repeat(1_000)),
}
for (const [what, damage] of Object.entries(WHOLE)) {
  test(`${what}: the copy serves, its age is told, the file is kept, and the next push makes all of it good again`, async (t) => {
    const disk = await twoSnapshots(t)
    const beganMs = disk.clock.wallMs() - HOUR_MS - SOON_MS
    write(disk.storage.path, damage)
    const damaged = bytesOf(disk)
    {
      await using run = await disk.run()
      assert.equal(timeoutOf(run.applier, 'a'), valueOf(cluster('a', '1s')))
      assert.equal(run.applier.snapshot.resources.cluster.size, MANY.length + 1)
      assert.deepEqual(
        [run.applier.generation, run.applier.stale, run.applier.snapshot.savedAtMs, run.applier.changedAtMs],
        [1, true, beganMs, { cluster: beganMs, endpoint: beganMs }],
      )
      const [told, ...more] = run.damage
      assert.deepEqual([told!.code, more], ['MESH_STORAGE_DAMAGED', []])
      const [, when, aside] =
        /^what serves is a copy of the configuration, last changed (\S+) \(generation 1\): a damaged file was found at start and is now (.*)$/.exec(
          told!.message,
        ) ?? assert.fail(told!.message)
      assert.equal(when, new Date(beganMs).toISOString())
      assert.deepEqual(fs.readFileSync(aside!), damaged)
      assert.equal(disk.metrics.total('mesh_config_damaged_total', { what: 'file' }), 1)
      assert.equal(disk.lines.filter((l) => l['evt'] === 'snapshot.damaged' && l['serves'] === 'previous').length, 1)
      await run.applier.apply([cluster('a', '3s')])
    }
    await using again = await disk.run()
    assert.deepEqual([timeoutOf(again.applier, 'a'), again.damage], [valueOf(cluster('a', '3s')), []])
    assert.equal(fs.statSync(disk.storage.path).mode & 0o777, 0o600)
    assert.deepEqual(
      fs.readdirSync(disk.folder).filter((n) => n.endsWith('.suspect') || n.endsWith('.new')),
      [],
    )
  })
}

test('a file that is gone, with or without its log left behind: the copy serves alone, and that is told', async (t) => {
  for (const logIsLeft of [false, true]) {
    const disk = await twoSnapshots(t)
    // A kill leaves the log; what stands in it belongs to another file than the copy.
    if (logIsLeft) {
      const folder = path.join(disk.folder, 'image')
      await using run = await disk.run()
      await run.applier.apply([cluster('a', '4s'), cluster('other')])
      await disk.pass(1_000)
      fs.mkdirSync(folder)
      disk.storage.crashImage(path.join(folder, 'snapshot.db'))
    }
    fs.rmSync(disk.storage.path)
    if (logIsLeft) fs.renameSync(path.join(disk.folder, 'image/snapshot.db-wal'), `${disk.storage.path}-wal`)
    assert.equal(
      fs.existsSync(`${disk.storage.path}-wal`) && fs.statSync(`${disk.storage.path}-wal`).size > 0,
      logIsLeft,
    )
    await using run = await disk.run()
    assert.equal(timeoutOf(run.applier, 'a'), valueOf(cluster('a', '1s')))
    assert.equal(run.applier.snapshot.resources.cluster.size, MANY.length + 1)
    assert.match(run.damage[0]!.message, /^what serves is a copy .*: .*snapshot\.db was gone$/)
  }
})

test('file and copy are damaged: nothing serves, both are told, and the next push is kept', async (t) => {
  for (const damage of [WHOLE['all pages are zero']!, WHOLE['garbage from the second page on']!]) {
    const disk = await twoSnapshots(t)
    for (const file of [disk.storage.path, disk.previous]) write(file, damage)
    {
      await using run = await disk.run()
      assert.equal(run.applier.snapshot.resources.cluster.size, 0)
      assert.match(
        run.damage[0]!.message,
        /^nothing serves until a control plane answers: a damaged file was found at start and is now .*; .*snapshot\.previous\.db is damaged$/,
      )
      assert.deepEqual(
        ['file', 'copy'].map((what) => disk.metrics.total('mesh_config_damaged_total', { what })),
        [1, 1],
      )
      await run.applier.apply([cluster('a', '3s')])
      await soon(disk)
      assert.equal(disk.metrics.total('mesh_config_copies_total'), 2, 'a copy that is damaged is replaced soon')
    }
    write(disk.storage.path, damage)
    await using again = await disk.run()
    assert.equal(timeoutOf(again.applier, 'a'), valueOf(cluster('a', '3s')))
  }
})

const LOST: Readonly<Record<string, string>> = {
  'rows that are missing': `DROP TRIGGER record_out; DELETE FROM record WHERE key LIKE 'cluster many-1%'`,
  'a row of another time': `DROP TRIGGER record_changed; UPDATE record SET to_generation = 2 WHERE key = 'cluster a' AND to_generation IS NULL; UPDATE record SET to_generation = NULL WHERE key = 'cluster a' AND from_generation = 1`,
  'a row that was never saved': `DROP TRIGGER record_in; INSERT INTO record (${COLUMNS}) SELECT 'cluster b', 2, NULL, crc, head, value FROM record WHERE key = 'cluster many-1'`,
  'no word of whose it is': `DELETE FROM state WHERE key = 'node'`,
}
for (const [what, text] of Object.entries(LOST)) {
  test(`what SQLite takes for sound is not served when it is a mix (${what}): file, then copy, then nothing`, async (t) => {
    const disk = await twoSnapshots(t)
    sql(disk.storage.path, text)
    {
      await using run = await disk.run()
      assert.deepEqual([timeoutOf(run.applier, 'a'), run.damage.length], [valueOf(cluster('a', '1s')), 1])
    }
    fs.copyFileSync(
      fs
        .readdirSync(disk.folder)
        .filter((n) => n.includes('.damaged-'))
        .map((n) => path.join(disk.folder, n))[0]!,
      disk.previous,
    )
    fs.writeFileSync(disk.storage.path, 'x'.repeat(10_000))
    await using run = await disk.run()
    assert.equal(run.applier.snapshot.resources.cluster.size, 0)
    assert.match(run.damage[0]!.message, /^nothing serves/)
    assert.equal(disk.metrics.total('mesh_config_damaged_total', { what: 'copy' }), 1)
  })
}

test('a kill between a new file and what was to be written into it: the copy serves', async (t) => {
  const disk = await twoSnapshots(t)
  fs.rmSync(disk.storage.path)
  {
    const { storage } = await disk.storage.open({
      path: disk.storage.path,
      profile: 'strict',
      migrations: (await import('../../../control-sync/snapshot/records.ts')).MIGRATIONS,
    })
    await storage[Symbol.asyncDispose]()
  }
  await using run = await disk.run()
  assert.equal(timeoutOf(run.applier, 'a'), valueOf(cluster('a', '1s')))
  assert.match(run.damage[0]!.message, /snapshot\.db held nothing/)
})

test('the copy of another node does not serve', async (t) => {
  const disk = await twoSnapshots(t)
  write(disk.storage.path, WHOLE['all pages are zero']!)
  await using run = await disk.run('m')
  assert.equal(run.applier.snapshot.resources.cluster.size, 0)
  assert.match(run.damage[0]!.message, /^nothing serves/)
})

test('a file that breaks while it is in use is set aside, and what is in force is written anew, once', async (t) => {
  const disk = await twoSnapshots(t)
  {
    await using run = await disk.run()
    disk.storage.faults = [{ when: 'before', code: 'MESH_STORAGE_DAMAGED' }]
    await run.applier.apply([cluster('a', '3s'), cluster('b')])
    for (let i = 0; i < 2; i++) await disk.pass(1_000)
    assert.equal(run.applier.storageError, undefined)
    assert.match(
      run.damage[0]!.message,
      /^the configuration in force was stored anew: the file was damaged while it was in use and is now .*\.damaged-/,
    )
  }
  await using again = await disk.run()
  assert.deepEqual(
    [
      timeoutOf(again.applier, 'a'),
      again.applier.snapshot.resources.cluster.size,
      again.applier.snapshot.resources.endpoint.size,
      again.damage,
    ],
    [valueOf(cluster('a', '3s')), MANY.length + 2, 1, []],
  )
})
test('a disk that breaks every file: tried every half minute, and what is set aside is bounded', async (t) => {
  const disk = await twoSnapshots(t)
  await using run = await disk.run()
  disk.storage.faults = Array.from({ length: 6 }, () => ({ when: 'before', code: 'MESH_STORAGE_DAMAGED' }))
  await run.applier.apply([cluster('a', '3s')])
  for (let i = 0; i < 2; i++) await disk.pass(1_000)
  for (let i = 0; i < 5; i++) {
    await disk.pass(i === 0 ? 0 : 30_000)
    assert.equal(run.applier.storageError?.code, 'MESH_STORAGE_DAMAGED')
  }
  assert.equal(fs.readdirSync(disk.folder).filter((n) => /damaged-\d+(-\d)?$/.test(n)).length, 3)
  await disk.pass(31_000)
  assert.equal(run.applier.storageError, undefined)
})

test('a copy is made when none is there, then only of what has changed, once in an interval, also over restarts; counted apart from saves', async (t) => {
  const disk = new SnapshotDisk(t)
  disk.copyIntervalMs = HOUR_MS
  const copies = (): number => disk.storage.copies.length
  {
    await using run = await disk.run()
    await disk.pass(HOUR_MS)
    assert.equal(copies(), 0, 'there is nothing to copy')
    await run.applier.apply([cluster('a', '1s')])
    await disk.pass(1_000)
    assert.deepEqual([disk.writes, copies()], [1, 0], 'a push is one write')
    await disk.pass(SOON_MS)
    assert.equal(copies(), 1)
    assert.equal(fs.statSync(disk.previous).mode & 0o777, 0o600)
    assert.deepEqual(
      [
        disk.metrics.total('mesh_config_saves_total'),
        disk.metrics.total('mesh_config_copies_total'),
        disk.metrics.total('mesh_config_written_bytes_total', { by: 'copy' }),
      ],
      [1, 1, fs.statSync(disk.previous).size],
    )
    await disk.pass(3 * HOUR_MS)
    assert.equal(copies(), 1, 'nothing has changed')
    await run.applier.apply([cluster('a', '2s')])
    await soon(disk)
    assert.equal(copies(), 2, 'the last one is old')
    for (let i = 0; i < 20; i++) {
      await run.applier.apply([cluster('a', `${i + 3}s`)])
      await disk.pass(60_000)
    }
    assert.equal(copies(), 2)
  }
  {
    await using _run = await disk.run()
    await disk.pass(HOUR_MS / 2)
    assert.equal(copies(), 2)
    await disk.pass(HOUR_MS / 2)
    assert.equal(copies(), 3, 'what had changed before the restart')
  }
  await using _run = await disk.run()
  await disk.pass(5 * HOUR_MS)
  assert.equal(copies(), 3)
})
test('a clock that was set back does not put a copy off for years', async (t) => {
  const disk = new SnapshotDisk(t)
  disk.copyIntervalMs = HOUR_MS
  await using run = await disk.run()
  await run.applier.apply([cluster('a', '1s')])
  await soon(disk)
  disk.clock.setWallMs(0)
  await run.applier.apply([cluster('a', '2s')])
  await disk.pass(1_000)
  await disk.pass(HOUR_MS)
  assert.equal(disk.storage.copies.length, 2)
})
test('no copy is made with an interval of 0; a disk that has no room for one keeps the last, says so, and is asked again an interval later', async (t) => {
  const disk = new SnapshotDisk(t)
  {
    await using run = await disk.run()
    await run.applier.apply([cluster('a', '1s')])
    await disk.pass(HOUR_MS)
    assert.equal(fs.existsSync(disk.previous), false)
  }
  disk.copyIntervalMs = HOUR_MS
  disk.storage.copyFaults = ['MESH_STORAGE_FULL']
  await using run = await disk.run()
  await disk.pass(SOON_MS)
  assert.equal(disk.storage.copies.length, 0)
  assert.equal(disk.lines.filter((l) => l['evt'] === 'config.not-copied').length, 1)
  assert.equal(run.applier.storageError, undefined, 'what is in force is on disk')
  await disk.pass(HOUR_MS)
  assert.equal(disk.storage.copies.length, 1)
})
test('a file whose pages are not in order is not copied over the last good copy', async (t) => {
  const disk = await twoSnapshots(t)
  const good = fs.readFileSync(disk.previous)
  {
    disk.copyIntervalMs = HOUR_MS
    await using _run = await disk.run()
    disk.storage.copyFaults = ['MESH_STORAGE_DAMAGED']
    await disk.pass(HOUR_MS)
    await disk.pass(0)
    assert.deepEqual(fs.readFileSync(disk.previous), good)
    assert.match(_run.damage[0]!.message, /^the configuration in force was stored anew/)
    await disk.pass(1_000)
    await disk.pass(HOUR_MS)
    assert.notDeepEqual(fs.readFileSync(disk.previous), good)
  }
  write(disk.storage.path, WHOLE['all pages are zero']!)
  await using again = await disk.run()
  assert.equal(timeoutOf(again.applier, 'a'), valueOf(cluster('a', '2s')))
})
