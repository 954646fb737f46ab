/** What is the same for several queues and large is on the disk once, for as long as one of them needs it. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import Database from 'better-sqlite3'
import fc from 'fast-check'
import { silentLog } from '../../../../core/log.ts'
import { Metrics } from '../../../../core/metrics.ts'
import { mqttPolicySchema } from '../../../../model/mqtt-policy.ts'
import type { DurableQueue, StoredMessage } from '../../../../protocols/mqtt/durability.ts'
import { openSpool, type Spool } from '../../../../protocols/mqtt/spool/spool.ts'
import { FaultyStorage } from '../../../helpers/disk/faulty-storage.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'

const message = (text: string): StoredMessage => ({
  topic: 't',
  payload: Buffer.from(text),
  qos: 1,
  retain: false,
  properties: new Uint8Array(0),
  expiresAtMs: undefined,
})
function folder(t: TestContext): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-spool-'))
  t.after(() => {
    fs.rmSync(dir, { recursive: true, force: true })
  })
  return dir
}
type Rig = { readonly spool: Spool; readonly storage: FaultyStorage; readonly clock: SimClock }
async function open(file: string): Promise<Rig> {
  const [storage, clock] = [new FaultyStorage(file), new SimClock()]
  const spool = await openSpool({
    openStorage: storage.open,
    path: file,
    policy: mqttPolicySchema().parse({ spool: { profile: 'balanced' } }),
    clock,
    metrics: new Metrics(),
    log: silentLog,
    freeBytes: () => 1e12,
  })
  return { spool, storage, clock }
}
async function texts(queue: DurableQueue | undefined): Promise<{ readonly seq: number; readonly text: string }[]> {
  const found: { seq: number; text: string }[] = []
  for (let part = await queue!.read(0, 50); part.length > 0; part = await queue!.read(found.at(-1)!.seq, 50)) {
    found.push(...part.map(({ seq, message: { payload } }) => ({ seq, text: Buffer.from(payload).toString() })))
  }
  return found
}
/** Of a file that nobody has open. */
function rowsOf(file: string): {
  readonly segments: number
  readonly shared: number
  readonly bytes: number
  readonly loose: number
  readonly lacking: number
} {
  const db = new Database(file)
  const one = (sql: string): number => Number(Object.values(db.prepare(sql).get() as object)[0])
  try {
    return {
      segments: one('SELECT count(*) FROM segment'),
      shared: one('SELECT count(*) FROM shared'),
      bytes: one(
        'SELECT coalesce((SELECT sum(length(data)) FROM shared), 0) + coalesce((SELECT sum(length(data)) FROM segment), 0)',
      ),
      loose: one(
        'SELECT count(*) FROM shared WHERE id NOT IN (SELECT shared_id FROM segment WHERE shared_id IS NOT NULL)',
      ),
      lacking: one(
        'SELECT count(*) FROM segment WHERE shared_id IS NOT NULL AND shared_id NOT IN (SELECT id FROM shared)',
      ),
    }
  } finally {
    db.close()
  }
}

for (const [what, sent] of [
  ['one large message', ['x'.repeat(20_000)]],
  ['many small ones of one commit', Array.from({ length: 200 }, (_, i) => `${i}`.padEnd(100))],
] as const) {
  test(`${what} for many queues: written once, read by each, gone with the last that needs it`, async (t) => {
    const file = path.join(folder(t), 'spool.db')
    const names = ['a', 'b', 'c']
    {
      const { spool } = await open(file)
      const queues = await Promise.all(names.map((name) => spool.createQueue(name)))
      await Promise.all(sent.map((text) => spool.append(message(text), queues)))
      await spool[Symbol.asyncDispose]()
    }
    const { bytes, ...rows } = rowsOf(file)
    assert.deepEqual(rows, { segments: 3, shared: 1, loose: 0, lacking: 0 })
    assert.ok(bytes < sent.length * 20 + sent.join('').length, `${bytes}`)
    {
      const { spool } = await open(file)
      for (const name of names)
        assert.deepEqual(
          (await texts(spool.queue(name))).map(({ text }) => text),
          sent,
        )
      assert.ok(spool.stats.bytes > 3 * sent.join('').length, 'limits count what each queue holds')
      await spool.deleteQueue('a')
      for (let seq = 1; seq <= sent.length; seq++) spool.queue('b')!.done(seq)
      await spool[Symbol.asyncDispose]()
    }
    assert.deepEqual([rowsOf(file).segments, rowsOf(file).shared], [1, 1])
    {
      const { spool } = await open(file)
      assert.deepEqual(
        (await texts(spool.queue('c'))).map(({ text }) => text),
        sent,
      )
      // Its number is nobody else's, though another blob had it once.
      await Promise.all(
        [spool.queue('b')!, spool.queue('c')!].map((queue) => spool.append(message('y'.repeat(9_000)), [queue])),
      )
      for (let seq = 1; seq <= sent.length; seq++) spool.queue('c')!.done(seq)
      await spool[Symbol.asyncDispose]()
    }
    const again = await open(file)
    for (const name of ['b', 'c'])
      assert.deepEqual(
        (await texts(again.spool.queue(name))).map(({ text }) => text[0]),
        ['y'],
      )
    await again.spool[Symbol.asyncDispose]()
  })
}

test('model: over failing commits, deleted queues and crashes each queue has what was acknowledged to it, and no shared blob is lost or left over', async (t) => {
  type Step =
    | { kind: 'append'; to: number; bytes: number; count: number; fault: 'none' | 'before' | 'after' }
    | { kind: 'done'; of: number; nth: number }
    | { kind: 'delete'; of: number }
    | { kind: 'crash' }
  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('append' as const),
        to: fc.integer({ min: 1, max: 7 }),
        bytes: fc.constantFrom(1, 500, 9_000),
        count: fc.integer({ min: 1, max: 20 }),
        fault: fc.constantFrom('none' as const, 'none' as const, 'before' as const, 'after' as const),
      }),
    },
    { weight: 8, arbitrary: fc.record({ kind: fc.constant('done' as const), of: fc.nat(2), nth: fc.nat(4) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('delete' as const), of: fc.nat(2) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('crash' as const) }) },
  )
  const dir = folder(t)
  let files = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      let r = await open(path.join(dir, `${files++}.db`))
      const kept: { seq: number; text: string }[][] = [[], [], []]
      const queue = async (n: number): Promise<DurableQueue> =>
        r.spool.queue(`q${n}`) ?? (await r.spool.createQueue(`q${n}`))
      for (const n of kept.keys()) await queue(n)
      let made = 0
      for (const s of [...steps, { kind: 'crash' as const }]) {
        if (s.kind === 'append') {
          const ns = [0, 1, 2].filter((n) => (s.to >> n) & 1)
          const to = await Promise.all(ns.map(queue))
          const before = to.map((q) => q.lastSeq)
          const sent = Array.from({ length: s.count }, () => `${made++}:${'x'.repeat(s.bytes)}`)
          if (s.fault !== 'none') r.storage.faults = [{ when: s.fault, code: 'MESH_STORAGE_FAILED' }]
          const results = await Promise.allSettled(sent.map((text) => r.spool.append(message(text), to)))
          r.storage.faults = []
          if (results.every((x) => x.status === 'fulfilled'))
            ns.forEach((n, i) => kept[n]!.push(...sent.map((text, j) => ({ seq: before[i]! + 1 + j, text }))))
        } else if (s.kind === 'done') {
          const [gone] = kept[s.of]!.splice(s.nth, 1)
          if (gone) (await queue(s.of)).done(gone.seq)
        } else if (s.kind === 'delete') {
          await r.spool.deleteQueue(`q${s.of}`)
          kept[s.of] = []
          await queue(s.of)
        } else {
          const image = path.join(dir, `${files++}.db`)
          r.storage.crashImage(image)
          await r.spool[Symbol.asyncDispose]()
          r = await open(image)
          for (const [n, mine] of kept.entries()) {
            const found = await texts(r.spool.queue(`q${n}`))
            const wanted = new Set(mine.map((k) => k.text))
            assert.deepEqual(
              found.filter((f) => wanted.has(f.text)),
              mine,
            )
            for (const f of found) if (!wanted.has(f.text)) (await queue(n)).done(f.seq)
          }
        }
        for (const [n, mine] of kept.entries()) assert.deepEqual(await texts(await queue(n)), mine)
      }
      await r.spool[Symbol.asyncDispose]()
      const { loose, lacking } = rowsOf(r.storage.path)
      assert.deepEqual({ loose, lacking }, { loose: 0, lacking: 0 })
    }),
    { numRuns: 20 },
  )
})
