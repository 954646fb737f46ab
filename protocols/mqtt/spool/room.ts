/** Whether the spool takes one message more, and what goes for it where the policy prefers new ones. */
import type { Clock } from '../../../agent/core/clock.ts'
import { MeshError } from '../../../agent/core/errors.ts'
import type { Metrics } from '../../../agent/core/metrics.ts'
import type { MqttPolicy } from '../../../agent/model/mqtt-policy.ts'
import type { SpoolQueue } from './queue.ts'
import type { SpoolWriter } from './writer.ts'

const DISK_LOOK_MS = 1_000
const SESSION_QUEUES = 'session/'

export class Room {
  readonly #p: { readonly policy: MqttPolicy; readonly clock: Clock; readonly writer: SpoolWriter; readonly freeBytes: () => number }
  readonly #refused: (reason: 'spool' | 'queue' | 'disk') => { value: number }
  readonly #dropped: { value: number }
  #isDiskLow = false
  #diskLookedMs = -Infinity
  /** Durable and not done. */
  messages = 0
  bytes = 0

  constructor(p: { readonly policy: MqttPolicy; readonly clock: Clock; readonly metrics: Metrics; readonly writer: SpoolWriter; readonly freeBytes: () => number }) {
    this.#p = p
    const refused = p.metrics.counter('mesh_mqtt_spool_refused_total', 'Messages that the spool did not take, by the limit that was met.', ['reason'])
    this.#refused = (reason) => refused.cell({ reason })
    this.#dropped = p.metrics.counter('mesh_mqtt_spool_dropped_total', 'Oldest messages given up to make room (mqtt.spool.whenFull: drop-oldest).').cell({})
  }

  /** Undefined when there is room for `bytes` in each of the queues, if need be after giving up the oldest. */
  refusal(bytes: number, to: readonly SpoolQueue[]): MeshError | undefined {
    const { whenFull } = this.#p.policy.spool
    if (this.#lacks(bytes, to) === undefined) return undefined
    if (whenFull === 'drop-oldest') for (const queue of to) while (queue.depth > 0 && this.#lacks(bytes, to) !== undefined) { queue.done(queue.firstSeq); this.#dropped.value++ }
    const lacking = this.#lacks(bytes, to)
    if (lacking === undefined) return undefined
    this.#refused(lacking).value++
    return this.#error(lacking)
  }

  #lacks(bytes: number, to: readonly SpoolQueue[]): 'spool' | 'queue' | 'disk' | undefined {
    const { policy: { spool, limits }, writer } = this.#p
    const isLow = this.#diskIsLow()
    if (isLow && spool.whenFull === 'refuse') return 'disk'
    const all = this.bytes + writer.pendingBytes + bytes * to.length
    // SQLite uses its free pages again before the file grows, so what is dropped makes room also where the disk has none.
    if (all > spool.maxBytes || this.messages + writer.pendingMessages + to.length > spool.maxMessages) return 'spool'
    if (isLow && all > this.#lowMark) return 'disk'
    for (const { name, depth, bytes: held } of to) {
      if (name.startsWith(SESSION_QUEUES) && (depth >= limits.maxQueuedMessages || held + bytes > limits.maxQueuedBytes)) return 'queue'
    }
    return undefined
  }

  /** Bytes held when the disk was found low. */
  #lowMark = 0
  #diskIsLow(): boolean {
    const { clock, freeBytes, policy } = this.#p
    const nowMs = clock.monotonicMs()
    if (nowMs - this.#diskLookedMs >= DISK_LOOK_MS) {
      this.#diskLookedMs = nowMs
      const isLow = freeBytes() < policy.spool.minDiskFreeBytes
      if (isLow && !this.#isDiskLow) this.#lowMark = this.bytes
      this.#isDiskLow = isLow
    }
    return this.#isDiskLow
  }

  #error(lacking: 'spool' | 'queue' | 'disk'): MeshError {
    const { spool, limits } = this.#p.policy
    switch (lacking) {
      case 'disk': return new MeshError('MESH_STORAGE_FULL', `the disk has less than ${spool.minDiskFreeBytes} bytes free (mqtt.spool.minDiskFreeBytes)`)
      case 'queue': return new MeshError('MESH_MQTT_QUOTA', `a session holds as much as it may (mqtt.limits.maxQueuedMessages ${limits.maxQueuedMessages}, maxQueuedBytes ${limits.maxQueuedBytes})`)
      case 'spool': return new MeshError('MESH_MQTT_QUOTA', `the spool holds ${this.messages} messages with ${this.bytes} bytes (mqtt.spool.maxMessages ${spool.maxMessages}, maxBytes ${spool.maxBytes})`)
      default: return lacking satisfies never
    }
  }
}
