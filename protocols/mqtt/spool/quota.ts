/**
 * Decides which queues take one more message and what is dropped for it. A queue with `drop-oldest` makes room for
 * itself. When the whole spool is full, the session that holds the most makes room, so one slow or dead receiver does
 * not hurt the others. If a queue with `refuse` has no room, no queue takes the message, and its sender is not told
 * that it is safe.
 */
import type { Clock } from '../../../core/os/clock.ts'
import { MeshError } from '../../../core/errors.ts'
import { detach } from '../../../core/defects/guard.ts'
import type { Log } from '../../../core/log.ts'
import type { Metrics } from '../../../core/metrics.ts'
import type { MqttPolicy } from '../../../model/mqtt-policy.ts'
import type { QueueLimits } from '../durability.ts'
import { countDrop } from '../gap.ts'
import type { SpoolQueue } from './queue.ts'
import type { SpoolWriter } from './writer.ts'

/**
 * The disk is looked at again after this time or this many bytes, whichever comes first: a fast one fills in less than
 * a second.
 */
const DISK_LOOK_MS = 1_000
const DISK_LOOK_BYTES = 1024 * 1024
/** What a message needs until SQLite has taken it from its log into the file. */
const COPIES = 2
const NO_QUEUES: readonly SpoolQueue[] = []

export type QuotaParts = {
  readonly policy: MqttPolicy
  readonly clock: Clock
  readonly metrics: Metrics
  readonly writer: SpoolWriter
  /** Of the disk; throws what the system says. */
  readonly freeBytes: () => number
  /** Of the file: what was deleted and can be used again before the file grows. */
  readonly spareBytes: () => Promise<number>
  readonly log: Log
  readonly queues: () => Iterable<SpoolQueue>
}
type Limit = 'spool' | 'queue' | 'share' | 'disk'
const LIMITS: readonly Limit[] = ['spool', 'queue', 'share', 'disk']

export class Quota {
  readonly #p: QuotaParts
  readonly #refused: (reason: Limit) => { value: number }
  readonly #dropped: Readonly<Record<Limit, { value: number }>>
  readonly #queues: () => Iterable<SpoolQueue>
  /** Session that holds the most, with its bytes when it was looked for. */
  #largest: { readonly queue: SpoolQueue; readonly bytes: number } | undefined
  /** Route queue with the lowest priority that gives up messages for others. */
  #lowest: SpoolQueue | undefined
  #diskLookedMs = -Infinity
  #sinceLookBytes = 0
  /**
   * A file never shrinks, so a disk that is low for the spool's own bytes stays low. Then only what fits into the file
   * is taken.
   */
  #isDiskLow = false
  #spareBytes = 0
  #isAsking = false
  #freeBytes = Infinity
  /** A queue was below its own floor since the disk was looked at. */
  #isBelowFloor = false
  /** Bytes held when the disk was found low. */
  #lowMark = 0
  /** Why the disk could not be looked at. What would be written might go to a file that is not there any more. */
  #gone: MeshError | undefined
  /** Durable and not done. */
  messages = 0
  bytes = 0
  refusals = 0

  constructor(p: QuotaParts) {
    this.#p = p
    const refused = p.metrics.counter(
      'mesh_mqtt_spool_refused_total',
      'Messages that the spool did not take, by the limit that was met.',
      ['reason'],
    )
    this.#refused = (reason) => refused.cell({ reason })
    const dropped = p.metrics.counter(
      'mesh_mqtt_spool_dropped_total',
      'Messages that a full queue gave up, or did not take, so that others go on (drop-oldest), by the limit that was met.',
      ['reason'],
    )
    this.#dropped = dropped.cells(LIMITS)
    this.#queues = p.queues
  }

  /** @returns the queues that take the message, or why nobody does */
  admit(bytes: number, to: readonly SpoolQueue[]): readonly SpoolQueue[] | MeshError {
    this.#lookAtDisk()
    if (this.#gone) return this.#counted('disk', this.#gone)
    let strict = 0
    for (const queue of to) {
      if (this.#isLossy(queue)) continue
      strict++
      if (this.#lacksFloor(queue, bytes)) return this.#counted('disk', floorError(queue, this.#floorOf(queue)))
      const full = this.#fullOf(queue, bytes)
      if (full) return this.#counted(full, queue.limits ? limitsError(queue.limits) : this.#error(full))
    }
    let lossy = strict === to.length ? NO_QUEUES : this.#makeRoomInEach(to, bytes)
    const lacking = this.#makeRoomForAll(bytes, lossy, strict)
    if (lacking !== undefined) {
      if (strict > 0 || (lacking === 'disk' && this.#p.policy.spool.whenFull === 'refuse'))
        return this.#counted(lacking, this.#error(lacking))
      for (const queue of lossy) this.#drop(queue, lacking, bytes)
      lossy = NO_QUEUES
    }
    const taking = lossy.length + strict === to.length ? to : [...this.#listStrict(to), ...lossy]
    this.#sinceLookBytes += bytes * taking.length
    return taking
  }
  // Apart from `admit`, which runs for each message: V8 makes functions that are written in it, and what they refer to,
  // at each call.
  #makeRoomInEach(to: readonly SpoolQueue[], bytes: number): readonly SpoolQueue[] {
    if (to.length === 1) return this.#makeRoomIn(to[0]!, bytes) ? to : NO_QUEUES
    return to.filter((queue) => this.#isLossy(queue) && this.#makeRoomIn(queue, bytes))
  }
  #listStrict(to: readonly SpoolQueue[]): readonly SpoolQueue[] {
    return to.filter((queue) => !this.#isLossy(queue))
  }

  /** QoS 0, for which sessions give up nothing and refuse nothing: without room it is not theirs. @returns as `admit` */
  admitExpendable(bytes: number, to: readonly SpoolQueue[]): readonly SpoolQueue[] | MeshError {
    const others = select(to, ({ isSession }) => !isSession)
    const taking = others.length > 0 ? this.admit(bytes, others) : others
    if (taking instanceof MeshError || others.length === to.length) return taking
    this.#lookAtDisk()
    const all = [...taking]
    for (const queue of to) {
      if (!queue.isSession) continue
      const lacking = this.#lackedBy(queue, bytes, all.length + 1)
      if (lacking === undefined) {
        all.push(queue)
        this.#sinceLookBytes += bytes
      } else {
        this.#dropped[lacking].value++
        countDrop(queue, lacking)
      }
    }
    return all
  }
  #lackedBy(queue: SpoolQueue, bytes: number, count: number): Limit | undefined {
    if (this.#gone || this.#lacksFloor(queue, bytes)) return 'disk'
    return this.#fullOf(queue, bytes, 'all') ?? this.#lacks(bytes * count, count)
  }

  #isLossy(queue: SpoolQueue): boolean {
    const { limits, spool } = this.#p.policy
    const own = queue.isSession ? limits.whenQueueFull : queue.whenFull
    return (own ?? spool.whenFull) !== 'refuse'
  }
  /** Which limit the queue meets with so much more. */
  #fullOf(
    queue: SpoolQueue,
    more: number,
    // What makes room gives up what is on the disk; so for it what is on its way there does not count yet.
    counts = this.#isLossy(queue) && queue.whenFull !== 'drop-newest' ? ('stored' as const) : ('all' as const),
  ): 'queue' | 'share' | undefined {
    const { isSession, limits, share, group } = queue
    if (share && share.bytes + more > share.maxBytes) return 'share'
    if (!limits && !isSession) return undefined
    const { maxQueuedMessages, maxQueuedBytes } = this.#p.policy.limits
    let depth = 0
    let bytes = more
    for (let i = 0; i < (group?.length ?? 1); i++) {
      const one = group ? group[i]! : queue
      depth += one.depth + (counts === 'all' ? one.pendingMessages : 0)
      bytes += one.bytes + (counts === 'all' ? one.pendingBytes : 0)
    }
    const isFull = depth >= (limits?.maxMessages ?? maxQueuedMessages) || bytes > (limits?.maxBytes ?? maxQueuedBytes)
    return isFull ? 'queue' : undefined
  }

  /** @returns false when the queue has nothing left to give up, so that the new message is what it loses */
  #makeRoomIn(queue: SpoolQueue, bytes: number): boolean {
    if (this.#lacksFloor(queue, bytes) && !this.#exchange(queue, bytes)) return false
    for (;;) {
      const full = this.#fullOf(queue, bytes)
      if (full === undefined) return true
      const victim = chooseVictim(queue)
      const isLost = victim.depth === 0 || queue.whenFull === 'drop-newest'
      this.#drop(isLost ? queue : victim, full, bytes)
      if (isLost) return false
    }
  }
  /** Below its floor a queue does not grow: it gives up as much as comes. @returns as `#makeRoomIn` */
  #exchange(queue: SpoolQueue, bytes: number): boolean {
    for (let freed = 0; freed < bytes;) {
      const victim = chooseVictim(queue)
      const isLost = victim.depth === 0 || queue.whenFull === 'drop-newest'
      freed += victim.bytes / Math.max(1, victim.depth)
      this.#drop(isLost ? queue : victim, 'disk', bytes)
      if (isLost) return false
    }
    return true
  }
  /** Of its own, above that of the spool; 0: none. */
  #floorOf({ limits, isSession, share }: SpoolQueue): number {
    const floor = isSession
      ? (share?.minDiskFreeBytes ?? this.#p.policy.limits.minDiskFreeBytes)
      : limits?.minDiskFreeBytes
    return floor ?? 0
  }
  #lacksFloor(queue: SpoolQueue, bytes: number): boolean {
    if (this.#freeBytes >= this.#floorOf(queue)) return false
    this.#isBelowFloor = true
    return !this.#fitsIntoFile(bytes)
  }
  /** @returns the limit that is still exceeded. Dropping messages does not help against a disk that others fill. */
  #makeRoomForAll(bytes: number, lossy: readonly SpoolQueue[], strict: number): Limit | undefined {
    const count = lossy.length + strict
    for (;;) {
      const lacking = this.#lacks(bytes * count, count)
      if (lacking === undefined) return undefined
      const mayDrop = lacking === 'spool' || (this.#p.policy.spool.whenFull === 'drop-oldest' && strict === 0)
      const victim = mayDrop ? this.#victim(lossy) : undefined
      if (victim === undefined) return lacking
      this.#drop(victim, lacking, bytes)
    }
  }
  #victim(lossy: readonly SpoolQueue[]): SpoolQueue | undefined {
    const largest = this.#largestSession()
    if (largest) return largest
    const ranked = lossy.find((queue) => queue.whenFull === 'drop-lowest-priority')
    return (
      (ranked && this.#lowestUpTo(ranked.priority)) ??
      lossy.map(chooseVictim).find((queue) => queue.depth > 0 && queue.whenFull !== 'drop-newest')
    )
  }
  #lowestUpTo(priority: number): SpoolQueue | undefined {
    const isRanked = (queue: SpoolQueue): boolean => queue.depth > 0 && queue.whenFull === 'drop-lowest-priority'
    if (this.#lowest === undefined || !isRanked(this.#lowest)) {
      this.#lowest = undefined
      for (const queue of this.#queues())
        if (isRanked(queue) && queue.priority < (this.#lowest?.priority ?? Infinity)) this.#lowest = queue
    }
    return this.#lowest && this.#lowest.priority <= priority ? chooseVictim(this.#lowest) : undefined
  }
  #largestSession(): SpoolQueue | undefined {
    const known = this.#largest
    if (known && !known.queue.gone && known.queue.depth > 0 && known.queue.bytes * 2 > known.bytes) return known.queue
    let largest: SpoolQueue | undefined
    for (const queue of this.#queues())
      if (queue.isSession && queue.depth > 0 && this.#isLossy(queue) && queue.bytes > (largest?.bytes ?? 0))
        largest = queue
    this.#largest = largest && { queue: largest, bytes: largest.bytes }
    return largest
  }
  /** Drops one message of a queue, or the one that the queue cannot take, and logs the first of them. */
  #drop(queue: SpoolQueue, why: Limit, bytes: number): void {
    this.#dropped[why].value++
    countDrop(queue, why)
    if (queue.gap === undefined)
      this.#p.log.warn(
        { evt: 'spool.dropping', code: 'MESH_MQTT_QUOTA', queue: queue.name, why },
        'a queue is full and gives up messages, as its setting says',
      )
    const nowMs = this.#p.clock.wallMs()
    if (queue.whenFull === 'drop-newest') queue.dropNew(nowMs, bytes)
    else queue.dropOldest(nowMs, bytes)
  }

  /** For retained messages. They are in no queue and have their own limits, so only the disk can refuse them. */
  findDiskRefusal(bytes: number): MeshError | undefined {
    this.#lookAtDisk()
    if (this.#gone) return this.#counted('disk', this.#gone)
    if (this.#lacksDisk(bytes)) return this.#counted('disk', this.#error('disk'))
    this.#sinceLookBytes += bytes
    return undefined
  }

  #lacks(bytes: number, messages: number): Limit | undefined {
    const { policy, writer } = this.#p
    const { spool } = policy
    if (
      this.bytes + writer.pendingBytes + bytes > spool.maxBytes ||
      this.messages + writer.pendingMessages + messages > spool.maxMessages
    )
      return 'spool'
    return this.#lacksDisk(bytes) ? 'disk' : undefined
  }
  #lacksDisk(bytes: number): boolean {
    const { writer, policy } = this.#p
    if (!this.#isDiskLow || this.#fitsIntoFile(bytes)) return false
    // Bytes of messages that are dropped for a new one are not spare yet; they will be with the same commit.
    return policy.spool.whenFull === 'refuse' || this.bytes + writer.pendingBytes + bytes > this.#lowMark
  }

  #fitsIntoFile(bytes: number): boolean {
    return (this.#sinceLookBytes + this.#p.writer.pendingBytes + bytes) * COPIES <= this.#spareBytes
  }

  #lookAtDisk(): void {
    const { clock, freeBytes, policy, writer } = this.#p
    const nowMs = clock.monotonicMs()
    if (nowMs - this.#diskLookedMs < DISK_LOOK_MS && this.#sinceLookBytes < DISK_LOOK_BYTES) return
    this.#diskLookedMs = nowMs
    this.#gone = undefined
    try {
      this.#freeBytes = freeBytes() - COPIES * writer.pendingBytes
      const isLow = this.#freeBytes < policy.spool.minDiskFreeBytes
      if (isLow && !this.#isDiskLow) this.#lowMark = this.bytes
      if (!this.#isDiskLow && !this.#isBelowFloor) this.#spareBytes = 0
      this.#isDiskLow = isLow
    } catch (cause) {
      this.#gone = new MeshError('MESH_STATE_UNUSABLE', 'the state directory cannot be looked at', { cause })
    }
    if (this.#isDiskLow || this.#isBelowFloor) this.#lookAtFile()
    else this.#sinceLookBytes = 0
    this.#isBelowFloor = false
  }
  /**
   * The last answer counts until the next one is there. Bytes taken before the question are in the answer or still with
   * the writer.
   */
  #lookAtFile(): void {
    if (this.#isAsking) return
    const before = this.#sinceLookBytes
    this.#isAsking = true
    detach(
      'storage',
      this.#p
        .spareBytes()
        .catch(() => 0)
        .then((spare) => {
          this.#isAsking = false
          this.#spareBytes = spare
          this.#sinceLookBytes = Math.max(0, this.#sinceLookBytes - before)
        }),
    )
  }

  #counted(why: Limit, err: MeshError): MeshError {
    this.#refused(why).value++
    return err
  }
  #error(lacking: Limit): MeshError {
    const { spool, limits } = this.#p.policy
    switch (lacking) {
      case 'disk':
        return new MeshError(
          'MESH_STORAGE_FULL',
          `the disk has less than ${spool.minDiskFreeBytes} bytes free (mqtt.spool.minDiskFreeBytes)`,
        )
      case 'queue':
        return new MeshError(
          'MESH_MQTT_QUOTA',
          `a session holds as much as it may (mqtt.limits.maxQueuedMessages ${limits.maxQueuedMessages}, maxQueuedBytes ${limits.maxQueuedBytes})`,
        )
      case 'share':
        return new MeshError(
          'MESH_MQTT_QUOTA',
          'the sessions of a receiver hold as much as they may together (mqtt.quotas[].maxQueuedBytes)',
        )
      case 'spool':
        return new MeshError(
          'MESH_MQTT_QUOTA',
          `the spool holds ${this.messages} messages with ${this.bytes} bytes (mqtt.spool.maxMessages ${spool.maxMessages}, maxBytes ${spool.maxBytes})`,
        )
      default:
        return lacking satisfies never
    }
  }
}

/** Of the queues of a route the one that gives up its oldest first. */
const chooseVictim = (queue: SpoolQueue): SpoolQueue => queue.group?.find(({ depth }) => depth > 0) ?? queue

/** As `filter`, asked for each message: without a new list where all are wanted, or none. */
function select(queues: readonly SpoolQueue[], isWanted: (queue: SpoolQueue) => boolean): readonly SpoolQueue[] {
  let wanted = 0
  for (const queue of queues) if (isWanted(queue)) wanted++
  if (wanted === queues.length) return queues
  return wanted === 0 ? NO_QUEUES : queues.filter(isWanted)
}

function floorError({ isSession }: SpoolQueue, floor: number): MeshError {
  const setting = isSession ? 'mqtt.limits.minDiskFreeBytes or mqtt.quotas[]' : 'mqtt.routes[]'
  return new MeshError(
    'MESH_STORAGE_FULL',
    `the disk has less than ${floor} bytes free (minDiskFreeBytes of ${setting})`,
  )
}
function limitsError({ maxMessages, maxBytes }: QueueLimits): MeshError {
  return new MeshError(
    'MESH_MQTT_QUOTA',
    `a route holds as much as it may (mqtt.routes[].maxQueuedMessages ${maxMessages}, maxQueuedBytes ${maxBytes})`,
  )
}
