/** A damaged file: what reads of it goes on, and what does not is told. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { createLog } from '../../../../../core/log.ts'
import { Metrics } from '../../../../../core/metrics.ts'
import { openStorageWith } from '../../../../../core/storage/worker-storage.ts'
import { createMqttPolicySchema } from '../../../../../model/mqtt-policy.ts'
import type { StoredSubscription } from '../../../../../protocols/mqtt/durability.ts'
import { openSpool, type Spool } from '../../../../../protocols/mqtt/spool/spool.ts'
import { SimClock } from '../../../../helpers/sim-clock.ts'
import { temporaryFolder } from '../../../../helpers/temporary-folder.ts'
import { all, message } from '../rig.ts'

const PAGE = 4096
const SESSIONS = 40
const MESSAGES = 20

async function open(file: string, events: string[] = [], profile: 'strict' | 'balanced' = 'balanced'): Promise<Spool> {
  const write = (line: string): void => void events.push((JSON.parse(line) as { evt: string }).evt)
  return await openSpool({
    openStorage: openStorageWith({ bundle: undefined }),
    path: file,
    policy: createMqttPolicySchema().parse({ spool: { profile } }),
    clock: new SimClock(),
    metrics: new Metrics(),
    log: createLog('info', { write }),
    freeBytes: () => 1e12,
  })
}
const subscription = (filter: string): StoredSubscription => ({
  filter,
  qos: 1,
  noLocal: false,
  retainAsPublished: false,
  retainHandling: 0,
  subscriptionId: undefined,
})

/** Sessions with a queue each, one of them with large messages, and retained messages. */
async function filled(t: TestContext): Promise<string> {
  const file = path.join(temporaryFolder(t), 'spool.db')
  const spool = await open(file)
  for (let i = 0; i < SESSIONS; i++) {
    const clientId = `client-${i}`
    const kept = {
      clientId,
      toStored: () => ({
        clientId,
        protocolVersion: 5 as const,
        owner: undefined,
        address: 'x'.repeat(300),
        expirySec: 3600,
        disconnectedAtMs: undefined,
        pendingWill: undefined,
      }),
    }
    const queue = await spool.createQueue(`session/${clientId}`, kept)
    await spool.saveSubscriptions(kept, [subscription(`t/${i}`), subscription(`u/${i}`)], [])
    for (let n = 0; n < MESSAGES; n++)
      await spool.append(message(`${i}/${n} ${'x'.repeat(i === 0 ? 20_000 : 300)}`), [queue])
    await spool.saveRetained(`r/${i}`, message(`retained ${i} ${'x'.repeat(400)}`, { topic: `r/${i}` }))
  }
  await spool[Symbol.asyncDispose]()
  return file
}
async function contents(spool: Spool) {
  let messages = 0
  for (const { clientId } of spool.sessions.values()) {
    const queue = spool.queue(`session/${clientId}`)
    const entries = queue ? await all(queue) : []
    for (const { seq, message: one } of entries)
      assert.ok(
        Buffer.from(one.payload)
          .toString()
          .startsWith(`${clientId.slice(7)}/${seq - 1} `),
      )
    messages += entries.length
  }
  return { sessions: spool.sessions.size, messages, retained: spool.retained.size }
}
const ALL = { sessions: SESSIONS, messages: SESSIONS * MESSAGES, retained: SESSIONS }

test('one zeroed page, whichever it is, costs what was on it; everything else is there, and the loss is told', async (t) => {
  const file = await filled(t)
  const pages = fs.statSync(file).size / PAGE
  const dir = temporaryFolder(t)
  // All of the first, where roots are, and some of the others.
  const chosen = [
    ...Array.from({ length: 12 }, (_, i) => i),
    ...Array.from({ length: 8 }, (_, i) => 12 + ((i * 37) % (pages - 12))),
  ]
  let whole = 0
  for (const page of chosen) {
    const copy = path.join(dir, `spool-${page}.db`)
    fs.copyFileSync(file, copy)
    const fd = fs.openSync(copy, 'r+')
    fs.writeSync(fd, Buffer.alloc(PAGE), 0, PAGE, page * PAGE)
    fs.closeSync(fd)
    const events: string[] = []
    const spool = await open(copy, events)
    const found = await contents(spool)
    const isWhole = JSON.stringify(found) === JSON.stringify(ALL)
    if (isWhole) whole++
    else {
      // A page in the middle of a large message shows when that is read.
      const isTold = spool.damage !== undefined ? 'spool.salvaged' : 'spool.segment'
      assert.ok(events.includes(isTold), `page ${page}: ${JSON.stringify(found)}`)
    }
    // A page of sessions holds about thirty of them, one of queues eighty.
    assert.ok(found.sessions >= SESSIONS / 3, `page ${page}: ${JSON.stringify(found)}`)
    assert.ok(found.retained >= SESSIONS / 3, `page ${page}: ${JSON.stringify(found)}`)
    await spool[Symbol.asyncDispose]()
    const again = await open(copy)
    assert.deepEqual(await contents(again), found, 'it is a sound file from then on')
    assert.equal(again.setAside, undefined)
    await again[Symbol.asyncDispose]()
  }
  assert.ok(whole >= 1, `${whole} of ${chosen.length} pages were roots or free, and nothing was lost with them`)
})

test('a file that ends early gives what is before its end', async (t) => {
  const file = await filled(t)
  const { size } = fs.statSync(file)
  for (const [share, least] of [
    [0.9, 200],
    [0.5, 10],
  ] as const) {
    const copy = path.join(temporaryFolder(t), 'spool.db')
    fs.copyFileSync(file, copy)
    fs.truncateSync(copy, Math.floor(size * share))
    const events: string[] = []
    await using spool = await open(copy, events)
    await contents(spool)
    assert.ok(events.includes('spool.salvaged'), JSON.stringify(events))
    assert.ok(spool.stats.messages >= least, spool.damage ?? '')
  }
})

test('garbage gives nothing, and is told', async (t) => {
  const copy = path.join(temporaryFolder(t), 'spool.db')
  fs.writeFileSync(copy, Buffer.alloc(20 * PAGE, 'garbage!'))
  const events: string[] = []
  await using spool = await open(copy, events)
  assert.deepEqual(await contents(spool), { sessions: 0, messages: 0, retained: 0 })
  assert.ok(events.includes('spool.salvaged'))
  assert.match(spool.damage!, /^0 sessions/)
})

/** Ten commits in the log of a file, as a kill leaves them. */
async function killed(t: TestContext): Promise<string> {
  const dir = temporaryFolder(t)
  const [file, image] = [path.join(dir, 'spool.db'), path.join(dir, 'image.db')]
  const spool = await open(file, [], 'strict')
  const queue = await spool.createQueue('up/q')
  for (let n = 0; n < 10; n++) await spool.append(message(`${n} ${'x'.repeat(4_000)}`), [queue])
  for (const suffix of ['', '-wal', '.used']) fs.copyFileSync(file + suffix, image + suffix)
  await spool[Symbol.asyncDispose]()
  return image
}

test('a kill is no loss: what it leaves is opened without a word', async (t) => {
  const events: string[] = []
  await using spool = await open(await killed(t), events, 'strict')
  assert.deepEqual([spool.queue('up/q')!.depth, spool.damage, events], [10, undefined, []])
})

test('an empty file, one that is gone, and a log that is gone are told', async (t) => {
  for (const [suffix, how, says] of [
    ['', 'empty', /gone or empty/],
    ['', 'gone', /gone or empty/],
    ['-wal', 'gone', /log of .* is gone/],
    ['-wal', 'empty', /log of .* is gone/],
  ] as const) {
    const file = await killed(t)
    if (suffix === '') fs.rmSync(`${file}-wal`)
    if (how === 'empty') fs.truncateSync(file + suffix)
    else fs.rmSync(file + suffix)
    const events: string[] = []
    await using spool = await open(file, events, 'strict')
    assert.match(spool.damage ?? '', says)
    assert.deepEqual(events, ['spool.lost'])
  }
})

test('a bit that was flipped in the log costs the message that it is in, and is told', async (t) => {
  for (const at of [0.2, 0.5]) {
    const file = await killed(t)
    const log = fs.readFileSync(`${file}-wal`)
    log[Math.floor(log.length * at)]! ^= 4
    fs.writeFileSync(`${file}-wal`, log)
    const events: string[] = []
    await using spool = await open(file, events, 'strict')
    assert.ok(events.includes('spool.damaged') && events.includes('spool.salvaged'), JSON.stringify(events))
    const queue = spool.queue('up/q')
    assert.ok(queue && (await all(queue)).length >= 8, `${queue?.depth} of 10`)
  }
})

test('an orderly end, and then no log, is as it should be', async (t) => {
  const file = await filled(t)
  const events: string[] = []
  await using spool = await open(file, events)
  assert.deepEqual([spool.damage, events], [undefined, []])
})
