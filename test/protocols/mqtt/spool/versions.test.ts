/** A file of every version that there was is taken over whole; an update may be cut off at any instant. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import Database from 'better-sqlite3'
import { silentLog } from '../../../../agent/core/log.ts'
import { Metrics } from '../../../../agent/core/metrics.ts'
import { openStorageWith } from '../../../../agent/core/storage-worker.ts'
import { mqttPolicySchema } from '../../../../agent/model/mqtt-policy.ts'
import { MIGRATIONS } from '../../../../protocols/mqtt/spool/schema.ts'
import { openSpool, type Spool } from '../../../../protocols/mqtt/spool/spool.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'

const open = (file: string): Promise<Spool> => openSpool({
  openStorage: openStorageWith({ bundle: undefined }), path: file, policy: mqttPolicySchema().parse({ spool: { profile: 'balanced' } }), clock: new SimClock(), metrics: new Metrics(), log: silentLog, freeBytes: () => 1e12,
})
const FILTERS = [
  { filter: 'a/+', qos: 1, noLocal: false, retainAsPublished: true, retainHandling: 2, subscriptionId: 7 },
  { filter: '$share/g/ü/#', qos: 2, noLocal: true, retainAsPublished: false, retainHandling: 0, subscriptionId: undefined },
] as const
const BODY = { clientId: 'pump-1', protocolVersion: 5, expirySec: 3600, disconnectedAtMs: 1_700_000_000_000 }

function old(t: TestContext, version: number): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-spool-'))
  t.after(() => { fs.rmSync(folder, { recursive: true, force: true }) })
  const file = path.join(folder, 'spool.db')
  const db = new Database(file)
  for (const sql of MIGRATIONS.slice(0, version)) db.exec(sql)
  db.pragma(`user_version = ${version}`)
  db.prepare('INSERT INTO session VALUES (?, ?)').run('pump-1', JSON.stringify(version === 1 ? { ...BODY, subscriptions: FILTERS } : BODY))
  db.prepare('INSERT INTO session VALUES (?, ?)').run('bridge/kept', JSON.stringify({ ...BODY, clientId: 'bridge/kept', ...(version === 1 && { subscriptions: [] }) }))
  db.prepare('INSERT INTO session VALUES (?, ?)').run('broken', '{"clientId":')
  if (version > 1) {
    const put = db.prepare('INSERT INTO subscription VALUES (?, ?, ?, ?)')
    put.run('pump-1', 'a/+', 1 + 8 + 32, 7)
    put.run('pump-1', '$share/g/ü/#', 2 + 4, null)
  }
  const inbound = db.prepare('INSERT INTO inbound VALUES (?, ?)')
  for (const [id, packet] of [[version > 2 ? '\0bridge/up/gw' : 'bridge/up/gw', 3], ['BRIDGE/mine', 4], ['pump-1', 5], ['bridge/kept', 6]] as const) inbound.run(id, packet)
  db.close()
  return file
}
async function check(file: string): Promise<void> {
  await using spool = await open(file)
  const { subscriptions, ...session } = spool.sessions.get('pump-1')!
  assert.deepEqual(session, { ...BODY, owner: undefined, address: '', pendingWill: undefined })
  assert.deepEqual([...subscriptions].sort((a, b) => (a.filter < b.filter ? 1 : -1)), FILTERS)
  assert.deepEqual(['\0bridge/up/gw', 'BRIDGE/mine', 'pump-1', 'bridge/kept', 'bridge/up/gw'].map((id) => [...spool.inbound(id)]), [[3], [4], [5], [6], []])
}

for (let version = 1; version <= MIGRATIONS.length; version++) {
  test(`a spool of version ${version} is taken over: sessions, subscriptions, QoS 2 ids; opened again it is the same`, async (t) => {
    const file = old(t, version)
    await check(file)
    await check(file)
    const db = new Database(file, { readonly: true })
    assert.equal(db.pragma('user_version', { simple: true }), MIGRATIONS.length)
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
