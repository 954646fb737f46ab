/** Whatever happens to a spool by chance, it is compared with a list that a test keeps beside it. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import path from 'node:path'
import fc from 'fast-check'
import type { DurableQueue } from '../../../../protocols/mqtt/durability.ts'
import type { Spool } from '../../../../protocols/mqtt/spool/spool.ts'
import { all, message, numbered, openOnThread, Rig, textOf, texts } from './rig.ts'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'

type ReopenStep =
  | { kind: 'append'; count: number; to: 0 | 1 | 2 }
  | { kind: 'done'; queue: 0 | 1; nth: number }
  | { kind: 'reopen' }
  | { kind: 'release'; queue: 0 | 1; nth: number }

const ofQueue = { queue: fc.constantFrom(0 as const, 1 as const), nth: fc.nat(20) }
const reopenStep: fc.Arbitrary<ReopenStep> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      count: fc.integer({ min: 1, max: 30 }),
      to: fc.constantFrom(0 as const, 1 as const, 2 as const),
    }),
  },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('done' as const), ...ofQueue }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('release' as const), ...ofQueue }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reopen' as const) }) },
)

/** Two queues of one spool, and what must be in them. */
class TwoQueues {
  readonly #dir: string
  readonly #model: { seq: number; text: string; released: boolean }[][] = [[], []]
  readonly #last = [0, 0]
  #made = 0
  #spool: Spool
  #queues: readonly DurableQueue[]

  private constructor(dir: string, spool: Spool, queues: readonly DurableQueue[]) {
    this.#dir = dir
    this.#spool = spool
    this.#queues = queues
  }

  static async open(t: TestContext): Promise<TwoQueues> {
    const dir = temporaryFolder(t)
    const spool = await openOnThread(dir)
    return new TwoQueues(dir, spool, [await spool.createQueue('0'), await spool.createQueue('1')])
  }

  async take(s: ReopenStep): Promise<void> {
    if (s.kind === 'append') await this.#append(s.count, s.to === 2 ? [0, 1] : [s.to])
    else if (s.kind === 'reopen') await this.#reopen()
    else if (s.kind === 'done') {
      const [gone] = this.#model[s.queue]!.splice(s.nth, 1)
      if (gone) this.#queues[s.queue]!.done(gone.seq)
    } else {
      const entry = this.#model[s.queue]![s.nth]
      if (!entry) return
      await this.#queues[s.queue]!.release(entry.seq)
      entry.released = true
    }
  }

  async check(): Promise<void> {
    for (const [q, expected] of this.#model.entries()) {
      const queue = this.#queues[q]!
      assert.deepEqual(
        (await all(queue)).map((e) => ({ seq: e.seq, text: textOf(e), released: e.released })),
        expected,
      )
      assert.equal(queue.depth, expected.length)
    }
    assert.equal(this.#spool.stats.messages, this.#model[0]!.length + this.#model[1]!.length)
  }

  async close(): Promise<void> {
    await this.#spool[Symbol.asyncDispose]()
  }

  async #append(count: number, to: readonly number[]): Promise<void> {
    const queues = to.map((q) => this.#queues[q]!)
    const appends = Array.from({ length: count }, () => {
      const text = `m${this.#made++}`
      for (const q of to) this.#model[q]!.push({ seq: ++this.#last[q]!, text, released: false })
      return this.#spool.append(message(text), queues)
    })
    await Promise.all(appends)
  }

  async #reopen(): Promise<void> {
    await this.#spool[Symbol.asyncDispose]()
    this.#spool = await openOnThread(this.#dir)
    this.#queues = ['0', '1'].map((name) => this.#spool.queue(name)!)
  }
}

test('model: whatever is appended, done and reopened in any order, what is left is exactly what was not done, in order', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(reopenStep, { maxLength: 25 }), async (steps) => {
      const queues = await TwoQueues.open(t)
      for (const s of steps) {
        await queues.take(s)
        await queues.check()
      }
      await queues.close()
    }),
    { numRuns: 30 },
  )
})

type CrashStep =
  | { kind: 'append'; count: number; bytes: number; fault: 'none' | 'before' | 'after' }
  | { kind: 'done'; nth: number }
  | { kind: 'pause' }
  | { kind: 'crash' }

const crashStep: fc.Arbitrary<CrashStep> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      count: fc.integer({ min: 1, max: 20 }),
      bytes: fc.constantFrom(1, 50, 2_000),
      fault: fc.constantFrom('none' as const, 'none' as const, 'before' as const, 'after' as const),
    }),
  },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('done' as const), nth: fc.nat(10) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('pause' as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('crash' as const) }) },
)

/** One queue on a disk that fails and loses its power, and what was acknowledged to whoever appended. */
class CrashingQueue {
  readonly #dir: string
  readonly #kept: { seq: number; text: string }[] = []
  #crashes = 0
  #made = 0
  #rig: Rig
  #queue: DurableQueue

  private constructor(dir: string, r: Rig, queue: DurableQueue) {
    this.#dir = dir
    this.#rig = r
    this.#queue = queue
  }

  static async open(t: TestContext): Promise<CrashingQueue> {
    const dir = temporaryFolder(t)
    const r = await new Rig(path.join(dir, '0.db')).open()
    return new CrashingQueue(dir, r, await r.queue())
  }

  async take(s: CrashStep): Promise<void> {
    if (s.kind === 'append') await this.#append(s)
    else if (s.kind === 'crash') await this.#crash()
    else if (s.kind === 'pause') await this.#rig.clock.advance(250)
    else {
      const [gone] = this.#kept.splice(s.nth, 1)
      if (gone) this.#queue.done(gone.seq)
    }
  }

  async check(): Promise<void> {
    if (this.#kept.length > 0) assert.equal(this.#queue.firstSeq, this.#kept[0]!.seq)
    assert.deepEqual(
      texts(await all(this.#queue)),
      this.#kept.map((k) => k.text),
    )
    assert.equal(this.#queue.depth, this.#kept.length)
  }

  async close(): Promise<void> {
    await this.#rig.spool[Symbol.asyncDispose]()
  }

  async #append({ count, bytes, fault }: CrashStep & { kind: 'append' }): Promise<void> {
    const { storage, spool } = this.#rig
    if (fault !== 'none') storage.faults = [{ when: fault, code: 'MESH_STORAGE_FAILED' }]
    const sent = Array.from({ length: count }, () => `${this.#made++}:${'x'.repeat(bytes)}`)
    const before = this.#queue.lastSeq
    const results = await Promise.allSettled(sent.map((text) => spool.append(message(text), [this.#queue])))
    storage.faults = []
    if (results.every((x) => x.status === 'fulfilled'))
      this.#kept.push(...sent.map((text, n) => ({ seq: before + 1 + n, text })))
    else assert.equal(this.#queue.lastSeq, before)
  }

  /** Messages that were done or never acknowledged may be there again. Acknowledged ones are, at their place. */
  async #crash(): Promise<void> {
    this.#rig = await this.#rig.crash(path.join(this.#dir, `${++this.#crashes}.db`))
    this.#queue = this.#rig.spool.queue('q')!
    const found = numbered(await all(this.#queue))
    const wanted = new Set(this.#kept.map((k) => k.text))
    assert.deepEqual(
      found.filter((f) => wanted.has(f.text)),
      this.#kept,
    )
    assert.ok(found.every((f, n) => n === 0 || f.seq > found[n - 1]!.seq))
    for (const f of found) if (!wanted.has(f.text)) this.#queue.done(f.seq)
  }
}

test('model: over failing commits and crashes nothing acknowledged is lost, order is kept and numbers have no gaps', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(crashStep, { maxLength: 30 }), async (steps) => {
      const queue = await CrashingQueue.open(t)
      for (const s of steps) {
        await queue.take(s)
        await queue.check()
      }
      await queue.close()
    }),
    { numRuns: 40 },
  )
})
