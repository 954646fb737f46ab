/** A file of every version that there was is taken over whole; an update may be cut off at any instant. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import Database from 'better-sqlite3'
import { silentLog } from '../../../../core/log.ts'
import { Metrics } from '../../../../core/metrics.ts'
import { openStorageWith } from '../../../../core/storage/worker-storage.ts'
import { createMqttPolicySchema } from '../../../../model/mqtt-policy.ts'
import type { Kept } from '../../../../protocols/mqtt/durability.ts'
import { MIGRATIONS } from '../../../../protocols/mqtt/spool/schema.ts'
import { encodeOne } from '../../../../protocols/mqtt/spool/segment.ts'
import { openSpool, type Spool } from '../../../../protocols/mqtt/spool/spool.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'
import { all, message, texts } from './rig.ts'

const open = (file: string): Promise<Spool> =>
  openSpool({
    openStorage: openStorageWith({ bundle: undefined }),
    path: file,
    policy: createMqttPolicySchema().parse({ spool: { profile: 'balanced' } }),
    clock: new SimClock(),
    metrics: new Metrics(),
    log: silentLog,
    freeBytes: () => 1e12,
  })
const FILTERS = [
  { filter: 'a/+', qos: 1, noLocal: false, retainAsPublished: true, retainHandling: 2, subscriptionId: 7 },
  {
    filter: '$share/g/ü/#',
    qos: 2,
    noLocal: true,
    retainAsPublished: false,
    retainHandling: 0,
    subscriptionId: undefined,
  },
] as const
const RETAINED = ['b', 'a/ü', 'c']
const LONG = 'urn:'.padEnd(1_024, 'x')
const BODY = { clientId: 'pump-1', protocolVersion: 5, expirySec: 3600, disconnectedAtMs: 1_700_000_000_000 }

function old(t: TestContext, version: number): string {
  const file = path.join(temporaryFolder(t), 'spool.db')
  const db = new Database(file)
  for (const sql of MIGRATIONS.slice(0, version)) db.exec(sql)
  db.pragma(`user_version = ${version}`)
  db.prepare('INSERT INTO session (client_id, body) VALUES (?, ?)').run(
    'pump-1',
    JSON.stringify(version === 1 ? { ...BODY, subscriptions: FILTERS } : BODY),
  )
  db.prepare('INSERT INTO session (client_id, body) VALUES (?, ?)').run(
    'bridge/kept',
    JSON.stringify({ ...BODY, clientId: 'bridge/kept', ...(version === 1 && { subscriptions: [] }) }),
  )
  // Before rows of a long client id stood by its hash.
  db.prepare('INSERT INTO session (client_id, body) VALUES (?, ?)').run(
    LONG,
    JSON.stringify({ ...BODY, clientId: LONG, ...(version === 1 && { subscriptions: FILTERS.slice(0, 1) }) }),
  )
  if (version > 1)
    db.prepare('INSERT INTO subscription (client_id, filter, options, subscription_id) VALUES (?, ?, ?, ?)').run(
      LONG,
      'a/+',
      1 + 8 + 32,
      7,
    )
  db.prepare('INSERT INTO session (client_id, body) VALUES (?, ?)').run('broken', '{"clientId":')
  if (version > 1) {
    const put = db.prepare('INSERT INTO subscription (client_id, filter, options, subscription_id) VALUES (?, ?, ?, ?)')
    put.run('pump-1', 'a/+', 1 + 8 + 32, 7)
    put.run('pump-1', '$share/g/ü/#', 2 + 4, null)
  }
  const inbound = db.prepare('INSERT INTO inbound (client_id, packet_id) VALUES (?, ?)')
  for (const [id, packet] of [
    [version > 2 ? '\0bridge/up/gw' : 'bridge/up/gw', 3],
    ['BRIDGE/mine', 4],
    ['pump-1', 5],
    ['bridge/kept', 6],
    [LONG, 7],
  ] as const)
    inbound.run(id, packet)
  db.prepare('INSERT INTO queue (id, name, first_seq, last_seq, done, released) VALUES (3, ?, 1, 2, ?, ?)').run(
    'session/pump-1',
    Buffer.alloc(0),
    Buffer.alloc(0),
  )
  db.prepare('INSERT INTO segment (id, last_seq, data) VALUES ((3 << 44) | 1, 2, ?)').run(
    oldSegment(['first', 'second']),
  )
  const retained = db.prepare('INSERT INTO retained (topic, message) VALUES (?, ?)')
  for (const topic of RETAINED) retained.run(topic, encodeOne(message(`of ${topic}`, { topic })))
  db.close()
  return file
}
/** As schema 5 had it: a checksum of all, then the entries. */
function oldSegment(payloads: readonly string[]): Buffer {
  const entries = payloads.map((payload) => {
    const head = Buffer.alloc(11)
    head[0] = 1
    head.writeUInt16BE(1, 1)
    head.writeUInt32BE(payload.length, 3)
    return Buffer.concat([head, Buffer.from(`t${payload}`)])
  })
  const sum = Buffer.alloc(4)
  sum.writeUInt32BE(crc32(Buffer.concat(entries)))
  return Buffer.concat([sum, ...entries])
}
async function check(file: string): Promise<void> {
  await using spool = await open(file)
  const { subscriptions, ...session } = spool.sessions.get('pump-1')!
  assert.deepEqual(session, { ...BODY, owner: undefined, address: '', pendingWill: undefined })
  assert.deepEqual(spool.sessions.get(LONG)!.subscriptions, FILTERS.slice(0, 1))
  assert.deepEqual(
    [...subscriptions].sort((a, b) => (a.filter < b.filter ? 1 : -1)),
    FILTERS,
  )
  assert.deepEqual(
    ['\0bridge/up/gw', 'BRIDGE/mine', 'pump-1', 'bridge/kept', LONG, 'bridge/up/gw'].map((id) => [
      ...spool.inbound(id),
    ]),
    [[3], [4], [5], [6], [7], []],
  )
  assert.deepEqual([...spool.retained.keys()].toSorted(), RETAINED.toSorted())
  for (const [topic, { payload }] of spool.retained) assert.equal(Buffer.from(payload).toString(), `of ${topic}`)
  const queue = spool.queue('session/pump-1')!
  const before = texts(await all(queue))
  assert.deepEqual(before.slice(0, 2), ['first', 'second'])
  await spool.append(message(`after ${before.length}`), [queue])
  assert.deepEqual(texts(await all(queue)), [...before, `after ${before.length}`])
  assert.equal(spool.damage, '1 damaged rows (session)', 'the one that never was JSON')
}

for (let version = 1; version <= MIGRATIONS.length; version++) {
  test(`a spool of version ${version} is taken over: sessions, subscriptions, QoS 2 ids; opened again it is the same`, async (t) => {
    const file = old(t, version)
    await check(file)
    await check(file)
    const db = new Database(file, { readonly: true })
    assert.equal(db.pragma('user_version', { simple: true }), MIGRATIONS.length)
    for (const table of ['inbound', 'subscription'])
      assert.equal(db.prepare(`SELECT max(length(CAST(client_id AS BLOB))) FROM ${table}`).pluck().get(), 29)
    db.close()
  })
  test(`an update of version ${version} that the power cuts off begins again`, async (t) => {
    const file = old(t, version)
    const db = new Database(file)
    db.pragma('journal_mode = WAL')
    db.pragma('wal_autocheckpoint = 0')
    db.exec('BEGIN')
    for (const sql of MIGRATIONS.slice(version)) db.exec(sql)
    db.pragma('cache_spill = 1')
    // As the disk is at this moment: nothing was committed.
    const cut = `${file}.cut`
    for (const end of ['', '-wal']) if (fs.existsSync(file + end)) fs.copyFileSync(file + end, cut + end)
    db.exec('ROLLBACK')
    db.close()
    await check(cut)
  })
}

test('of a damaged file that is older than the numbers of retained messages, those are read', async (t) => {
  const file = old(t, 7)
  const fd = fs.openSync(file, 'r+')
  fs.writeSync(fd, Buffer.alloc(4096), 0, 4096, 0)
  fs.closeSync(fd)
  await using spool = await open(file)
  assert.ok(spool.setAside)
  assert.deepEqual([...spool.retained.keys()].toSorted(), RETAINED.toSorted())
})

test('what one filter or one QoS 2 id costs on the disk does not grow with the client id', async (t) => {
  const file = path.join(temporaryFolder(t), 'spool.db')
  const long: Kept = {
    clientId: LONG,
    toStored: () => ({
      ...BODY,
      clientId: LONG,
      protocolVersion: 5,
      owner: undefined,
      address: '',
      pendingWill: undefined,
    }),
  }
  for (const round of [0, 1]) {
    await using spool = await open(file)
    if (round === 0) {
      await spool.saveSubscriptions(
        long,
        Array.from({ length: 1_000 }, (_, i) => ({ ...FILTERS[0], filter: `f${i}` })),
        [],
      )
      const message = {
        topic: 't',
        payload: Buffer.alloc(0),
        qos: 2,
        retain: false,
        properties: Buffer.alloc(0),
        expiresAtMs: undefined,
      } as const
      for (let id = 1; id <= 1_000; id++) await spool.append(message, [], { clientId: LONG, packetId: id })
      continue
    }
    assert.deepEqual([spool.sessions.get(LONG)!.subscriptions.length, spool.inbound(LONG).size], [1_000, 1_000])
    await spool.releaseInbound(LONG, 5)
    await spool.saveSubscriptions(long, [], ['f3'])
    assert.equal(spool.inbound(LONG).size, 999)
    await spool.deleteSession(LONG)
    assert.equal(spool.inbound(LONG).size, 0)
  }
  const db = new Database(file)
  assert.deepEqual(
    ['inbound', 'subscription', 'session'].map((table) => db.prepare(`SELECT count(*) FROM ${table}`).pluck().get()),
    [0, 0, 0],
  )
  db.close()
  assert.ok(fs.statSync(file).size < 300_000, `${fs.statSync(file).size} bytes for 2,000 rows`)
})
