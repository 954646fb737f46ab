/** What is the same for several queues and large is on the disk once, for as long as one of them needs it. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import path from 'node:path'
import Database from 'better-sqlite3'
import fc from 'fast-check'
import type { DurableQueue } from '../../../../protocols/mqtt/durability.ts'
import { all, message, numbered, Rig } from './rig.ts'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'

const open = (file: string): Promise<Rig> => new Rig(file).open()
const entriesOf = async (queue: DurableQueue | undefined): Promise<{ seq: number; text: string }[]> =>
  numbered(await all(queue!))
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
    const file = path.join(temporaryFolder(t), 'spool.db')
    const names = ['a', 'b', 'c']
    {
      const { spool } = await open(file)
      const queues = await Promise.all(names.map((name) => spool.createQueue(name)))
      await Promise.all(sent.map((text) => spool.append(message(text), queues)))
      await spool[Symbol.asyncDispose]()
    }
    const { bytes, ...rows } = rowsOf(file)
    assert.deepEqual(rows, { segments: 3, shared: 1, loose: 0, lacking: 0 })
    assert.ok(bytes < sent.length * 20 + 16 + sent.join('').length, `${bytes}`)
    {
      const { spool } = await open(file)
      for (const name of names)
        assert.deepEqual(
          (await entriesOf(spool.queue(name))).map(({ text }) => text),
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
        (await entriesOf(spool.queue('c'))).map(({ text }) => text),
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
        (await entriesOf(again.spool.queue(name))).map(({ text }) => text[0]),
        ['y'],
      )
    await again.spool[Symbol.asyncDispose]()
  })
}

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

/** Three queues that share what is large, and what was acknowledged to each. */
class ThreeQueues {
  readonly #dir: string
  readonly #kept: { seq: number; text: string }[][] = [[], [], []]
  #images = 0
  #made = 0
  #rig: Rig

  private constructor(dir: string, r: Rig) {
    this.#dir = dir
    this.#rig = r
  }

  static async open(t: TestContext): Promise<ThreeQueues> {
    const dir = temporaryFolder(t)
    const queues = new ThreeQueues(dir, await open(path.join(dir, '0.db')))
    for (const n of queues.#kept.keys()) await queues.#queue(n)
    return queues
  }

  async take(s: Step): Promise<void> {
    if (s.kind === 'append') await this.#append(s)
    else if (s.kind === 'crash') await this.#crash()
    else if (s.kind === 'done') {
      const [gone] = this.#kept[s.of]!.splice(s.nth, 1)
      if (gone) (await this.#queue(s.of)).done(gone.seq)
    } else {
      await this.#rig.spool.deleteQueue(`q${s.of}`)
      this.#kept[s.of] = []
      await this.#queue(s.of)
    }
  }

  async check(): Promise<void> {
    for (const [n, mine] of this.#kept.entries()) assert.deepEqual(await entriesOf(await this.#queue(n)), mine)
  }

  /** The rows of its file, once it is closed. */
  async close(): Promise<ReturnType<typeof rowsOf>> {
    await this.#rig.spool[Symbol.asyncDispose]()
    return rowsOf(this.#rig.storage.path)
  }

  #queue(n: number): Promise<DurableQueue> {
    return this.#rig.queue(`q${n}`)
  }

  async #append(s: Step & { kind: 'append' }): Promise<void> {
    const { spool, storage } = this.#rig
    const ns = [0, 1, 2].filter((n) => (s.to >> n) & 1)
    const to = await Promise.all(ns.map((n) => this.#queue(n)))
    const before = to.map((q) => q.lastSeq)
    const sent = Array.from({ length: s.count }, () => `${this.#made++}:${'x'.repeat(s.bytes)}`)
    if (s.fault !== 'none') storage.faults = [{ when: s.fault, code: 'MESH_STORAGE_FAILED' }]
    const results = await Promise.allSettled(sent.map((text) => spool.append(message(text), to)))
    storage.faults = []
    if (results.every((x) => x.status === 'fulfilled'))
      ns.forEach((n, i) => this.#kept[n]!.push(...sent.map((text, j) => ({ seq: before[i]! + 1 + j, text }))))
  }

  async #crash(): Promise<void> {
    this.#rig = await this.#rig.crash(path.join(this.#dir, `${++this.#images}.db`))
    for (const [n, mine] of this.#kept.entries()) {
      const found = await entriesOf(this.#rig.spool.queue(`q${n}`))
      const wanted = new Set(mine.map((k) => k.text))
      assert.deepEqual(
        found.filter((f) => wanted.has(f.text)),
        mine,
      )
      for (const f of found) if (!wanted.has(f.text)) (await this.#queue(n)).done(f.seq)
    }
  }
}

test('model: over failing commits, deleted queues and crashes each queue has what was acknowledged to it, and no shared blob is lost or left over', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const queues = await ThreeQueues.open(t)
      for (const s of [...steps, { kind: 'crash' as const }]) {
        await queues.take(s)
        await queues.check()
      }
      const { loose, lacking } = await queues.close()
      assert.deepEqual({ loose, lacking }, { loose: 0, lacking: 0 })
    }),
    { numRuns: 20 },
  )
})
