/**
 * Groups writes into transactions. Everything that is requested in one turn of the event loop, or while a transaction
 * runs, becomes one batch with one promise. Sequence numbers are assigned when a batch is handed over, so a failed
 * batch leaves no gap.
 */
import type { Clock, Timer } from '../../../core/os/clock.ts'
import { toMeshError, type MeshError } from '../../../core/errors.ts'
import { guard, doNothing } from '../../../core/defects/guard.ts'
import type { Log } from '../../../core/log.ts'
import type { Statement, Storage } from '../../../core/storage/storage.ts'
import type { Kept, StoredMessage, StoredSubscription } from '../durability.ts'
import { SHARED_BYTES } from '../shared-message.ts'
import type { SpoolQueue } from './queue.ts'
import { buildQueueRow, buildSegmentRow, buildSharedSegmentRow } from './rows.ts'
import { SQL } from './schema.ts'
import { DAMAGED, findSameBlobs, isCurrentFormat, SegmentWriter } from './segment.ts'
import { Statements } from './statements.ts'
import { SubscriptionRows } from './subscription-rows.ts'

/** Larger batches become several segments, so that a backlog is read in pieces. */
const MAX_SEGMENT_BYTES = 128 * 1024
/**
 * A small last segment is written again with what is new: a page is written anyway, and a slow trickle does not become
 * a row per message.
 */
const MAX_MERGED_BYTES = 3 * 1024
/**
 * What receivers have acknowledged is written so much later at most; a crash before repeats those messages (with DUP).
 */
const MAX_ROW_DELAY_MS = 250
/** Or when so many segments of a queue are no longer needed. */
const MAX_DEAD_SEGMENTS = 8
const MAX_SPARE_WRITERS = 8
/**
 * A commit that took so long is worth waiting for: senders that were just acknowledged send their next messages at once,
 * and without them the window would be spread over two commits in turn.
 */
const SLOW_COMMIT_MS = 10
const MAX_HOLD_MS = 10

type Batch = {
  readonly done: PromiseWithResolvers<void>
  readonly statements: Statements
  readonly applied: (() => void)[]
  readonly subscriptions: SubscriptionRows
  readonly writers: Map<SpoolQueue, SegmentWriter[]>
  /** Queues that end with this batch. */
  readonly drops: Set<SpoolQueue>
  messages: number
  bytes: number
}
type Put = {
  readonly queue: SpoolQueue
  readonly firstSeq: number
  readonly lastSeq: number
  readonly blob: Buffer
  readonly replaced: Replaced | undefined
}
type Replaced = { readonly firstSeq: number; readonly lastSeq: number; readonly blob: Buffer }
/** The next commit waits until it has so many messages, or until the timer says. */
type Hold = { readonly messages: number; readonly timer: Timer }
type Row = {
  readonly queue: SpoolQueue
  readonly released: readonly number[]
  readonly dead: number
  readonly sent: number | null
}

export class SpoolWriter {
  readonly #storage: Storage
  readonly #clock: Clock
  readonly #log: Log
  readonly #onCommit: () => void
  #batch: Batch | undefined
  #running: Promise<void> | undefined
  #isScheduled = false
  #hold: Hold | undefined
  #isClosing = false
  readonly #changed = new Set<SpoolQueue>()
  /** Of these the row goes with the next commit. */
  readonly #due = new Set<SpoolQueue>()
  #rowsDue = false
  #rowTimer: Timer | undefined
  /** After a failure: room is made before anything is added. */
  #freesFirst = false
  /** Queues whose last put has failed, perhaps after it was done; with what it was to replace. */
  readonly #uncertain = new Map<SpoolQueue, Replaced | undefined>()
  readonly #spare: SegmentWriter[] = []
  /** Not yet durable, or about to be; counted against the limits. */
  pendingMessages = 0
  pendingBytes = 0
  /** Highest id among shared blobs. */
  lastShared = 0

  #error: MeshError | undefined

  constructor(p: {
    readonly storage: Storage
    readonly clock: Clock
    readonly log: Log
    /** After each that worked, before anybody is told. */
    readonly onCommit: () => void
  }) {
    this.#storage = p.storage
    this.#clock = p.clock
    this.#log = p.log
    this.#onCommit = p.onCommit
  }

  /** Why the last commit failed; undefined once one has worked. */
  get error(): MeshError | undefined {
    return this.#error
  }

  /**
   * @param bytes what the message counts per queue. Rejects with MESH_STORAGE_FULL or MESH_STORAGE_FAILED, with all of
   * its batch and what came behind it.
   */
  append(message: StoredMessage, to: readonly SpoolQueue[], bytes: number): Promise<void> {
    const batch = this.#open()
    const shared = to.length > 1 && bytes >= SHARED_BYTES ? sharedOf(message) : undefined
    for (const queue of to) {
      if (queue.gone || batch.drops.has(queue)) continue
      const writer = shared ?? this.#writerOf(batch, queue)
      const before = shared ? 0 : writer.bytes
      if (shared) this.#writersOf(batch, queue).push(shared)
      else writer.add(message)
      queue.pendingMessages++
      queue.pendingBytes += writer.bytes - before
      batch.messages++
      batch.bytes += bytes
      this.pendingMessages++
      this.pendingBytes += bytes
    }
    if (this.#hold && batch.messages >= this.#hold.messages) this.#endHold()
    return batch.done.promise
  }
  /** `applied` runs when it is durable, before the promise resolves. */
  write(statements: readonly Statement[], applied?: () => void): Promise<void> {
    const batch = this.#open()
    batch.statements.push(...statements)
    if (applied) batch.applied.push(applied)
    return batch.done.promise
  }
  /** @param id of the row; `applied` as of `write` */
  putRetained(id: number, message: StoredMessage, applied?: () => void): Promise<void> {
    const batch = this.#open()
    batch.statements.putRetained(id, message)
    if (applied) batch.applied.push(applied)
    return batch.done.promise
  }
  changeSubscriptions(session: Kept, kept: readonly StoredSubscription[], gone: readonly string[]): Promise<void> {
    const batch = this.#open()
    batch.subscriptions.change(session, kept, gone)
    return batch.done.promise
  }
  /** @param name the session's row key */
  dropSubscriptions(name: string): Promise<void> {
    this.#open().subscriptions.forget(name)
    return this.write([{ sql: SQL.dropSubscriptionsOf, params: [name] }])
  }
  drop(queue: SpoolQueue): Promise<void> {
    this.#open().drops.add(queue)
    return this.write(
      [
        { sql: SQL.dropQueue, params: [queue.id] },
        { sql: SQL.dropSegmentsAbove, params: [queue.id, 0, queue.id] },
      ],
      () => {
        queue.drop()
        this.#changed.delete(queue)
        this.#uncertain.delete(queue)
      },
    )
  }
  /** Written with a later commit, after MAX_ROW_DELAY_MS at the latest. */
  writeLater(queue: SpoolQueue): void {
    this.#changed.add(queue)
    this.#rowTimer ??= this.#clock.after(MAX_ROW_DELAY_MS, () => {
      this.#rowTimer = undefined
      this.#rowsDue = true
      // What is held goes soon, and takes them along.
      if (!this.#hold) this.#flush()
    })
  }
  /** The queue's row goes with the next commit, which is soon. */
  writeSoon(queue: SpoolQueue): Promise<void> {
    this.#changed.add(queue)
    this.#due.add(queue)
    return this.#open().done.promise
  }

  /** Writes everything that is left; never rejects. */
  async close(): Promise<void> {
    this.#isClosing = true
    this.#rowTimer?.cancel()
    // What runs, what waited for that, and what both have changed; more only when it fails.
    for (let round = 0; round < 3; round++) {
      this.#rowsDue = true
      this.#flush()
      await this.#running
    }
    this.#rowTimer?.cancel()
  }

  #open(): Batch {
    if (this.#batch) return this.#batch
    const done = Promise.withResolvers<void>()
    done.promise.catch(() => undefined) // everybody who waits handles it; nobody has to wait
    this.#batch = {
      done,
      statements: new Statements(),
      applied: [],
      subscriptions: new SubscriptionRows(),
      writers: new Map(),
      drops: new Set(),
      messages: 0,
      bytes: 0,
    }
    if (!this.#running && !this.#hold) this.#schedule()
    return this.#batch
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    // Not a microtask: all sockets that have something to say in this turn are heard first.
    setImmediate(
      guard('storage', doNothing, () => {
        this.#isScheduled = false
        this.#flush()
      }),
    )
  }
  /** After a commit of so many messages that took so long. */
  #holdFor(committed: number, tookMs: number): void {
    const messages = committed + (this.#batch?.messages ?? 0)
    if (tookMs < SLOW_COMMIT_MS || committed === 0 || this.#isClosing) return
    const timer = this.#clock.after(Math.min(tookMs / 5, MAX_HOLD_MS), () => this.#endHold())
    this.#hold = { messages, timer }
  }
  #endHold(): void {
    this.#hold?.timer.cancel()
    this.#hold = undefined
    if (this.#batch || this.#rowsDue) this.#schedule()
  }

  #writersOf({ writers }: Batch, queue: SpoolQueue): SegmentWriter[] {
    let list = writers.get(queue)
    if (!list) writers.set(queue, (list = []))
    return list
  }
  #writerOf(batch: Batch, queue: SpoolQueue): SegmentWriter {
    const list = this.#writersOf(batch, queue)
    let last = list[list.length - 1]
    if (last === undefined || last.isShared || last.bytes >= MAX_SEGMENT_BYTES)
      list.push((last = this.#spare.pop() ?? new SegmentWriter()))
    return last
  }

  #flush(): void {
    if (this.#running) return
    this.#hold?.timer.cancel()
    this.#hold = undefined
    const statements: Statement[] = []
    const frees = this.#freesFirst ? this.#rows(statements, 'all') : []
    this.#freesFirst = false
    if (frees.length > 0) {
      this.#running = this.#commit(statements, undefined, [], frees)
      return
    }
    const batch = this.#batch
    this.#batch = undefined
    if (batch) statements.push(...batch.statements.take(), ...batch.subscriptions.takeStatements())
    const puts = batch ? this.#puts(batch, statements) : []
    const rows = this.#rows(statements, this.#rowsDue ? 'all' : 'due', batch?.drops)
    if (batch || statements.length > 0) this.#running = this.#commit(statements, batch, puts, rows)
  }

  async #commit(
    statements: readonly Statement[],
    batch: Batch | undefined,
    puts: readonly Put[],
    rows: readonly Row[],
  ): Promise<void> {
    const fromMs = this.#clock.monotonicMs()
    try {
      // Always a turn later: the caller has to note that this runs.
      await (statements.length > 0 ? this.#storage.commit(statements) : Promise.resolve())
    } catch (thrown) {
      this.#failed(thrown, batch, puts, rows)
      return
    }
    this.#error = undefined
    this.#onCommit()
    for (const { queue, firstSeq, lastSeq, blob } of puts) {
      this.#uncertain.delete(queue)
      if (!queue.gone) queue.noteAppended(firstSeq, lastSeq, blob)
    }
    for (const { queue, released, dead, sent } of rows) {
      queue.noteReleased(released)
      queue.noteSent(sent)
      queue.deadSegments -= dead
    }
    if (batch) {
      this.#forget(batch)
      for (const apply of batch.applied) apply()
      batch.subscriptions.tellStored()
    }
    this.#holdFor(batch?.messages ?? 0, this.#clock.monotonicMs() - fromMs)
    // The disk gets its next work before the acknowledgements of this batch make theirs.
    this.#again()
    let last: SpoolQueue | undefined
    for (const { queue } of puts) {
      if (queue !== last) queue.onAppended?.()
      last = queue
    }
    batch?.done.resolve()
  }

  #failed(thrown: unknown, batch: Batch | undefined, puts: readonly Put[], rows: readonly Row[]): void {
    const err = toMeshError(thrown)
    this.#error = err
    this.#log.error(
      { evt: 'spool.commit', code: err.code, messages: batch?.messages ?? 0, err },
      'the spool could not write',
    )
    // What came meanwhile would take a place in front of messages whose senders repeat them now [MQTT-4.6.0-6].
    const behind = batch && batch.messages > 0 && this.#batch && this.#batch.messages > 0 ? this.#batch : undefined
    if (behind) this.#batch = undefined
    // Whether it was done is not known for certain when the thread has died; the next commit sets it right.
    for (const { queue, replaced } of puts) if (!this.#uncertain.get(queue)) this.#uncertain.set(queue, replaced)
    for (const { queue } of rows) {
      queue.noteSent(undefined)
      this.#changed.add(queue)
    }
    for (const one of [batch, behind]) {
      if (!one) continue
      for (const queue of one.drops) this.#changed.add(queue)
      this.#forget(one)
    }
    // Without anything to add the row timer is soon enough; an empty disk must not be asked in a loop.
    this.#freesFirst = batch !== undefined
    const [again] = this.#changed
    if (again) this.writeLater(again)
    this.#again()
    batch?.done.reject(err)
    behind?.done.reject(err)
  }

  #again(): void {
    this.#running = undefined
    if ((this.#batch || this.#rowsDue) && !this.#hold) this.#flush()
  }
  #forget(batch: Batch): void {
    this.pendingMessages -= batch.messages
    this.pendingBytes -= batch.bytes
    for (const [queue, list] of batch.writers)
      for (const writer of list) {
        queue.pendingMessages -= writer.count
        queue.pendingBytes -= writer.bytes
        if (!writer.isShared && writer.reset() && this.#spare.length < MAX_SPARE_WRITERS) this.#spare.push(writer)
      }
  }

  #puts(batch: Batch, statements: Statement[]): Put[] {
    const puts: Put[] = []
    for (const [queue, writers] of batch.writers) {
      if (queue.gone || batch.drops.has(queue)) continue
      this.#undoUncertainPut(queue, statements)
      if (queue.isSentDue) this.#due.add(queue)
      let lastSeq = queue.lastSeq
      for (const [i, writer] of writers.entries()) {
        const replaced = i === 0 ? mergeable(queue, writer) : undefined
        const firstSeq = replaced?.firstSeq ?? lastSeq + 1
        lastSeq += writer.count
        puts.push({ queue, firstSeq, lastSeq, blob: writer.finish(replaced?.blob), replaced })
      }
    }
    this.#putAll(puts, batch.writers.size > 1, statements)
    return puts
  }

  /**
   * A large blob of several queues goes to the disk once: fifteen sessions that are away would else cost thirty bytes
   * of it for each that comes.
   */
  #putAll(puts: readonly Put[], isShared: boolean, statements: Statement[]): void {
    const groups = isShared ? findSameBlobs(puts) : undefined
    for (const put of puts) {
      const { queue, firstSeq, lastSeq, blob } = put
      const group = groups?.get(put)
      if (!group) {
        statements.push(buildSegmentRow([queue.id, firstSeq, lastSeq], blob))
        continue
      }
      if (group.id === undefined)
        statements.push({ sql: SQL.putShared, params: [(group.id = ++this.lastShared), blob] })
      statements.push(buildSharedSegmentRow([queue.id, firstSeq, lastSeq], group.id))
    }
  }

  /** What a put of unknown outcome may have left goes away, and what it may have replaced comes back. */
  #undoUncertainPut(queue: SpoolQueue, statements: Statement[]): void {
    if (!this.#uncertain.has(queue)) return
    const replaced = this.#uncertain.get(queue)
    const tail = queue.tail
    statements.push({ sql: SQL.dropSegmentsAbove, params: [queue.id, tail?.firstSeq ?? queue.lastSeq, queue.id] })
    if (replaced && replaced.firstSeq === tail?.firstSeq)
      statements.push(buildSegmentRow([queue.id, replaced.firstSeq, replaced.lastSeq], replaced.blob))
  }

  /** @param drops queues that end with this transaction: a row of theirs would outlive them */
  #rows(statements: Statement[], which: 'all' | 'due', drops?: ReadonlySet<SpoolQueue>): Row[] {
    const rows: Row[] = []
    for (const queue of this.#due) this.#changed.add(queue)
    for (const queue of this.#changed) {
      const isDue = queue.deadSegments >= MAX_DEAD_SEGMENTS || queue.releasing.size > 0 || this.#due.has(queue)
      if (which === 'due' && !isDue) continue
      this.#changed.delete(queue)
      if (queue.gone || drops?.has(queue)) continue
      const released = [...queue.releasing]
      const { id, deadSegments, sent } = queue
      if (queue.isSentDue) queue.noteSent(undefined)
      statements.push(buildQueueRow(queue, [...queue.released, ...released]))
      if (deadSegments > 0) statements.push({ sql: SQL.dropSegmentsBelow, params: [id, id, queue.firstNeededSeq] })
      rows.push({ queue, released, dead: deadSegments, sent })
    }
    this.#due.clear()
    if (which === 'all') this.#rowsDue = false
    return rows
  }
}

/** A large message for several queues: one segment, the same bytes for all of them. */
function sharedOf(message: StoredMessage): SegmentWriter {
  const writer = new SegmentWriter('shared')
  writer.add(message)
  return writer
}

/** The last segment, when it is small, in memory and the new entries go along. */
function mergeable(queue: SpoolQueue, writer: SegmentWriter): Replaced | undefined {
  const { tail } = queue
  if (!tail?.blob || tail.lastSeq !== queue.lastSeq || tail.blob.length + writer.bytes > MAX_MERGED_BYTES)
    return undefined
  // A damaged message must not be taken along: it would be found, and told, once more.
  if (!isCurrentFormat(tail.blob) || tail.places?.includes(DAMAGED)) return undefined
  return { firstSeq: tail.firstSeq, lastSeq: tail.lastSeq, blob: tail.blob }
}
