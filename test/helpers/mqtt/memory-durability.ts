import { MeshError, type ErrorCode } from '../../../core/errors.ts'
import type {
  Drops,
  Durability,
  DurableQueue,
  Gap,
  Inbound,
  Kept,
  QueueEntry,
  QueueLimits,
  QueueShare,
  SessionHead,
  StoredMessage,
  StoredSession,
  StoredSubscription,
  WhenFull,
} from '../../../protocols/mqtt/durability.ts'
import { subtractGap } from '../../../protocols/mqtt/gap.ts'
import { SessionRows } from '../../../protocols/mqtt/spool/session-rows.ts'

/**
 * Durability in memory with a disk that can be held and refused. `crash()` gives what a restart finds: only what was
 * committed. Everything asked for between two commits is one transaction, as with the spool.
 */
export class MemoryDurability implements Durability {
  readonly queues = new Map<string, MemoryQueue>()
  readonly sessions = new Map<string, StoredSession>()
  readonly retained = new Map<string, StoredMessage>()
  readonly #inbound = new Map<string, Set<number>>()
  readonly #arriving = new Map<string, Promise<void>>()
  readonly #rows = new SessionRows()
  #waiting: { run: () => void; reject: (err: Error) => void }[] = []
  #held = false
  #scheduled = false
  #refusing: ErrorCode | undefined
  #refusedFromBytes = 0
  refusals = 0
  appends = 0
  commits = 0

  /** Nothing becomes durable until commit(). */
  hold(): void {
    this.#held = true
  }
  /** One commit of all that waits, then holding goes on. */
  commit(): void {
    const batch = this.#waiting
    this.#waiting = []
    this.commits++
    for (const { run } of batch) run()
    for (const queue of this.queues.values()) queue.tell()
  }
  resume(): void {
    this.#held = false
    this.commit()
  }
  /** Appends of so many bytes or more and saves are refused; undefined = taken again. */
  refuse(code: ErrorCode | undefined, fromBytes = 0): void {
    this.#refusing = code
    this.#refusedFromBytes = fromBytes
  }
  /** What waits for the commit fails with it, as on a bad disk. */
  fail(): void {
    for (const { reject } of this.#waiting.splice(0)) reject(new MeshError('MESH_STORAGE_FAILED', 'the test fails'))
  }
  get pending(): number {
    return this.#waiting.length
  }

  /** What another process finds after this one was killed now. */
  crash(): MemoryDurability {
    const next = new MemoryDurability()
    for (const [name, queue] of this.queues)
      next.queues.set(
        name,
        queue.copy((work) => next.#later(work)),
      )
    for (const [id, session] of this.sessions) {
      next.sessions.set(id, session)
      next.#rows.noteRestored(id)
    }
    for (const [topic, message] of this.retained) next.retained.set(topic, message)
    for (const [id, ids] of this.#inbound) next.#inbound.set(id, new Set(ids))
    return next
  }

  queue(name: string): MemoryQueue | undefined {
    return this.queues.get(name)
  }
  queueNames(prefix: string): readonly string[] {
    return [...this.queues.keys()].filter((name) => name.startsWith(prefix))
  }
  createQueue(name: string, session?: Kept): Promise<DurableQueue> {
    const brought = this.#broughtAlong(session)
    return this.#write(() => {
      brought()
      const made = this.queues.get(name) ?? new MemoryQueue(name, (work) => this.#later(work))
      this.queues.set(name, made)
      return made
    })
  }
  deleteQueue(name: string): Promise<void> {
    return this.#later(() => {
      this.queues.delete(name)
    })
  }
  settle(): Promise<void> {
    if (this.#waiting.length === 0) return Promise.resolve()
    return this.#later(() => {}).catch(() => undefined)
  }
  append(message: StoredMessage, to: readonly DurableQueue[], inbound?: Inbound): Promise<void> {
    this.appends++
    const queues = to as readonly MemoryQueue[]
    for (const queue of queues) queue.pendingMessages++
    const written = this.#append(message, queues, inbound)
    // What was taken counts as an entry from its commit on.
    written.catch(() => {
      for (const queue of queues) queue.pendingMessages--
    })
    return written
  }
  #append(message: StoredMessage, to: readonly MemoryQueue[], inbound: Inbound | undefined): Promise<void> {
    if (this.#refusing && message.payload.length < this.#refusedFromBytes) {
      const brought = this.#broughtAlong(inbound?.session)
      return this.#later(() => {
        brought()
        this.#add(message, to, inbound)
      })
    }
    if (this.#refusing) this.refusals++
    const brought = this.#broughtAlong(inbound?.session)
    const written = this.#write(() => {
      brought()
      this.#add(message, to, inbound)
    })
    if (inbound) this.#noteArriving(inbound, written)
    return written
  }
  #add(message: StoredMessage, to: readonly MemoryQueue[], inbound: Inbound | undefined): void {
    for (const queue of to) {
      queue.pendingMessages--
      queue.add(copied(message))
    }
    if (inbound) this.#ids(inbound.clientId).add(inbound.packetId)
  }
  #noteArriving({ clientId, packetId }: Inbound, written: Promise<void>): void {
    const key = `${packetId}/${clientId}`
    this.#arriving.set(key, written)
    const settle = (): void => {
      this.#arriving.delete(key)
    }
    written.then(settle, settle)
  }
  arriving({ clientId, packetId }: Inbound): Promise<void> | undefined {
    return this.#arriving.get(`${packetId}/${clientId}`)
  }
  inbound(clientId: string): ReadonlySet<number> {
    return this.#ids(clientId)
  }
  releaseInbound(clientId: string, packetId: number): Promise<void> {
    return this.#later(() => {
      this.#ids(clientId).delete(packetId)
    })
  }
  holds(clientId: string): boolean {
    return this.#rows.has(clientId) || this.#ids(clientId).size > 0 || this.queues.has(`session/${clientId}`)
  }
  saveSession(session: SessionHead): Promise<void> {
    return this.#write(this.#put(session))
  }
  #put(session: SessionHead): () => void {
    const durable = this.#rows.put(session.clientId)
    return () => {
      durable()
      this.sessions.set(session.clientId, {
        ...session,
        subscriptions: this.sessions.get(session.clientId)?.subscriptions ?? [],
      })
    }
  }
  #broughtAlong(session: Kept | undefined): () => void {
    return session && !this.#rows.isDurable(session.clientId)
      ? this.#put(session.toStored())
      : () => {
          /* it is there */
        }
  }
  saveSubscriptions(kept: Kept, changed: readonly StoredSubscription[], gone: readonly string[]): Promise<void> {
    const brought =
      changed.length > 0
        ? this.#broughtAlong(kept)
        : () => {
            /* so it is there */
          }
    return this.#write(() => {
      brought()
      const session = this.sessions.get(kept.clientId)
      if (!session) return
      const filters = new Set([...changed.map((one) => one.filter), ...gone])
      this.sessions.set(kept.clientId, {
        ...session,
        subscriptions: [...session.subscriptions.filter((one) => !filters.has(one.filter)), ...changed],
      })
      for (const filter of gone) kept.noteStored?.(filter, undefined)
      for (const one of changed) kept.noteStored?.(one.filter, one)
    })
  }
  deleteSession(clientId: string): Promise<void> {
    const dropped = this.#rows.drop(clientId)
    return this.#later(() => {
      dropped()
      this.sessions.delete(clientId)
      this.#inbound.delete(clientId)
      this.queues.delete(`session/${clientId}`)
    })
  }
  /** They are the store itself here. */
  forgetRetained(): void {}
  saveRetained(topic: string, message: StoredMessage | undefined, applied?: () => void): Promise<void> {
    return this.#write(() => {
      if (message) this.retained.set(topic, copied(message))
      else this.retained.delete(topic)
      applied?.()
    })
  }

  #ids(clientId: string): Set<number> {
    const known = this.#inbound.get(clientId) ?? new Set()
    this.#inbound.set(clientId, known)
    return known
  }
  #write<T>(work: () => T): Promise<T> {
    if (this.#refusing) return Promise.reject(new MeshError(this.#refusing, 'the test refuses'))
    return this.#later(work)
  }
  #later<T>(work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({
        run: () => {
          resolve(work())
        },
        reject,
      })
      if (this.#held || this.#scheduled) return
      this.#scheduled = true
      queueMicrotask(() => {
        this.#scheduled = false
        if (!this.#held) this.commit()
      })
    })
  }
}

export class MemoryQueue implements DurableQueue {
  readonly name: string
  readonly entries = new Map<number, { seq: number; message: StoredMessage; released: boolean }>()
  lastSeq = 0
  pendingMessages = 0
  onAppended: (() => void) | undefined
  whenFull: WhenFull | undefined
  limits: QueueLimits | undefined
  group: readonly DurableQueue[] | undefined
  readonly drops: Drops = {}
  priority = 0
  share: QueueShare | undefined
  gap: Gap | undefined
  #grown = false
  /** As SpoolQueue has it, which writes it with the next message at the latest. */
  #sent: number | 'open' = 0
  #durableSent: number | 'open' = 'open'
  readonly #later: <T>(work: () => T) => Promise<T>
  constructor(name: string, later: <T>(work: () => T) => Promise<T>) {
    this.name = name
    this.#later = later
  }

  get depth(): number {
    return this.entries.size
  }
  get isEmpty(): boolean {
    return this.depth + this.pendingMessages === 0
  }
  get bytes(): number {
    return [...this.entries.values()].reduce((sum, { message }) => sum + message.payload.length, 0)
  }
  get firstSeq(): number {
    return this.entries.keys().next().value ?? this.lastSeq + 1
  }
  add(message: StoredMessage): void {
    this.lastSeq++
    this.#durableSent = this.#sent
    this.entries.set(this.lastSeq, { seq: this.lastSeq, message, released: false })
    this.#grown = true
  }
  tell(): void {
    if (this.#grown) {
      this.#grown = false
      this.onAppended?.()
    }
  }
  read(afterSeq: number, max: number): readonly QueueEntry[] {
    return [...this.entries.values()].filter(({ seq }) => seq > afterSeq).slice(0, max)
  }
  done(seq: number): void {
    this.entries.delete(seq)
  }
  get sentSeq(): number {
    return this.#sent === 'open' ? this.lastSeq : this.#sent
  }
  startSending(): Promise<void> | undefined {
    const isKnown = this.lastSeq <= this.sentSeq
    this.#sent = 'open'
    if (this.#durableSent === 'open' || isKnown) return undefined
    return this.#later(() => {
      this.#durableSent = 'open'
    })
  }
  endSending(sentSeq: number): void {
    this.#sent = this.#durableSent = sentSeq
  }
  clearGap(told: Gap): void {
    this.gap = this.gap && subtractGap(told, this.gap)
  }
  release(seq: number): Promise<void> {
    return this.#later(() => {
      const entry = this.entries.get(seq)
      if (entry) entry.released = true
    })
  }
  forgetReleases(): Promise<void> {
    return this.#later(() => {
      for (const entry of this.entries.values()) entry.released = false
    })
  }
  copy(later: <T>(work: () => T) => Promise<T>): MemoryQueue {
    const next = new MemoryQueue(this.name, later)
    next.lastSeq = this.lastSeq
    next.gap = this.gap
    next.#durableSent = this.#durableSent
    next.#sent = this.#durableSent === 'open' ? this.lastSeq : this.#durableSent
    for (const [seq, entry] of this.entries) next.entries.set(seq, { ...entry })
    return next
  }
}

/** As the spool does: what it keeps does not hold the chunk that it came in. */
function copied(message: StoredMessage): StoredMessage {
  return { ...message, payload: Buffer.from(message.payload), properties: Buffer.from(message.properties) }
}
