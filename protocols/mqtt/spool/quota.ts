/** Whether the spool takes one message more, and what goes for it where the policy prefers new ones. */
import type { Clock } from '../../../core/os/clock.ts'
import { MeshError } from '../../../core/errors.ts'
import { detached } from '../../../core/defects/guard.ts'
import type { Metrics } from '../../../core/metrics.ts'
import type { MqttPolicy } from '../../../model/mqtt-policy.ts'
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
const SESSION_QUEUES = 'session/'

export type QuotaParts = {
  readonly policy: MqttPolicy
  readonly clock: Clock
  readonly metrics: Metrics
  readonly writer: SpoolWriter
  /** Of the disk; throws what the system says. */
  readonly freeBytes: () => number
  /** Of the file: what was deleted and can be used again before the file grows. */
  readonly spareBytes: () => Promise<number>
}
type Limit = 'spool' | 'queue' | 'disk'

export class Quota {
  readonly #p: QuotaParts
  readonly #refused: (reason: Limit) => { value: number }
  readonly #dropped: { value: number }
  #diskLookedMs = -Infinity
  #sinceLookBytes = 0
  /**
   * A file never shrinks, so a disk that is low for the spool's own bytes stays low. Then only what fits into the file
   * is taken.
   */
  #isDiskLow = false
  #spareBytes = 0
  #isAsking = false
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
    this.#dropped = p.metrics
      .counter(
        'mesh_mqtt_spool_dropped_total',
        'Oldest messages given up to make room (mqtt.spool.whenFull: drop-oldest).',
      )
      .cell({})
  }

  /** Undefined when there is room for `bytes` in each of the queues, if need be after giving up the oldest. */
  refusal(bytes: number, to: readonly SpoolQueue[]): MeshError | undefined {
    this.#lookAtDisk()
    if (this.#gone) return this.#counted('disk', this.#gone)
    if (this.#p.policy.spool.whenFull === 'drop-oldest') {
      for (const queue of to)
        while (queue.depth > 0 && this.#lacks(bytes, to) !== undefined) {
          queue.done(queue.firstSeq)
          this.#dropped.value++
        }
    }
    const lacking = this.#lacks(bytes, to)
    if (lacking !== undefined) return this.#counted(lacking, this.#error(lacking))
    this.#sinceLookBytes += bytes * to.length
    return undefined
  }
  /** For what is in no queue: retained messages, which have limits of their own. */
  refusalOfDisk(bytes: number): MeshError | undefined {
    this.#lookAtDisk()
    if (this.#gone) return this.#counted('disk', this.#gone)
    if (this.#lacksDisk(bytes)) return this.#counted('disk', this.#error('disk'))
    this.#sinceLookBytes += bytes
    return undefined
  }

  #lacks(bytes: number, to: readonly SpoolQueue[]): Limit | undefined {
    const {
      policy: { spool, limits },
      writer,
    } = this.#p
    const all = this.bytes + writer.pendingBytes + bytes * to.length
    if (all > spool.maxBytes || this.messages + writer.pendingMessages + to.length > spool.maxMessages) return 'spool'
    if (this.#lacksDisk(bytes * to.length)) return 'disk'
    for (const { name, depth, bytes: held } of to) {
      if (
        name.startsWith(SESSION_QUEUES) &&
        (depth >= limits.maxQueuedMessages || held + bytes > limits.maxQueuedBytes)
      )
        return 'queue'
    }
    return undefined
  }
  #lacksDisk(bytes: number): boolean {
    const { writer, policy } = this.#p
    if (!this.#isDiskLow || (this.#sinceLookBytes + writer.pendingBytes + bytes) * COPIES <= this.#spareBytes)
      return false
    // What is given up for a new message is not in the file's spare bytes yet, but will be with the same commit.
    return policy.spool.whenFull === 'refuse' || this.bytes + writer.pendingBytes + bytes > this.#lowMark
  }

  #lookAtDisk(): void {
    const { clock, freeBytes, policy, writer } = this.#p
    const nowMs = clock.monotonicMs()
    if (nowMs - this.#diskLookedMs < DISK_LOOK_MS && this.#sinceLookBytes < DISK_LOOK_BYTES) return
    this.#diskLookedMs = nowMs
    this.#gone = undefined
    try {
      const isLow = freeBytes() - COPIES * writer.pendingBytes < policy.spool.minDiskFreeBytes
      if (isLow && !this.#isDiskLow) {
        this.#lowMark = this.bytes
        this.#spareBytes = 0
      }
      this.#isDiskLow = isLow
    } catch (cause) {
      this.#gone = new MeshError('MESH_STATE_UNUSABLE', 'the state directory cannot be looked at', { cause })
    }
    if (this.#isDiskLow) this.#lookAtFile()
    else this.#sinceLookBytes = 0
  }
  /**
   * Until the answer is there the last one counts. What was taken before the question is in the answer, or still with
   * the writer.
   */
  #lookAtFile(): void {
    if (this.#isAsking) return
    const before = this.#sinceLookBytes
    this.#isAsking = true
    detached(
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
