/**
 * Who sent what, what was acknowledged, and what each subscriber got. A stream is one publisher on one topic; its
 * messages are numbered from 1. The payload says all that is to be checked, so a message that came back wrong is
 * noticed.
 */
export type Qos = 1 | 2

export class Stream {
  readonly topic: string
  readonly qos: Qos
  /** The highest number that was ever handed to a socket. */
  sent = 0
  readonly #acknowledged = new Set<number>()
  lastAcknowledged = 0
  constructor(topic: string, qos: Qos) {
    this.topic = topic
    this.qos = qos
  }

  acknowledge(n: number): void {
    this.#acknowledged.add(n)
    this.lastAcknowledged = Math.max(this.lastAcknowledged, n)
  }
  get acknowledged(): ReadonlySet<number> {
    return this.#acknowledged
  }
}

const MAX_EXAMPLES = 5
const SIZES = [0, 10, 100, 1_000, 5_000] // single commits, large batches and several segments
export const payloadOf = (topic: string, n: number): Buffer =>
  Buffer.from(`${n}:${topic}:${'x'.repeat(SIZES[((n * 7) % 11) % SIZES.length]!)}`)

export type Count = {
  readonly subscriber: string
  readonly qos: Qos
  /** Messages of which the publisher has PUBACK or PUBCOMP. */
  acknowledged: number
  /** Of these, how many the subscriber has got at least once. */
  delivered: number
  lost: number
  /** Deliveries after the first. Allowed for QoS 1 only. */
  duplicates: number
  /** First deliveries that came after the first delivery of a higher number of the same stream [MQTT-4.6.0-5, -6]. */
  outOfOrder: number
  /** Payload, topic or QoS is not what was sent. */
  damaged: number
}

/** What one subscriber got. */
export class Receipts {
  readonly subscriber: string
  readonly #streams: ReadonlyMap<string, Stream>
  readonly #times = new Map<string, number[]>()
  readonly #newest = new Map<string, number>()
  /** Messages that have come at least once. */
  distinct = 0
  /** The first few things that are wrong. */
  readonly examples: string[] = []
  readonly #outOfOrder = { 1: 0, 2: 0 }
  readonly #damaged = { 1: 0, 2: 0 }
  constructor(subscriber: string, streams: ReadonlyMap<string, Stream>) {
    this.subscriber = subscriber
    this.#streams = streams
  }

  got(topic: string, payload: Buffer, qos: number): void {
    const stream = this.#streams.get(topic)
    const n = Number(payload.subarray(0, payload.indexOf(':')).toString())
    if (!stream || qos !== stream.qos || !(n >= 1 && n <= stream.sent) || !payload.equals(payloadOf(topic, n))) {
      this.#damaged[qos === 1 ? 1 : 2]++
      this.#note(`${topic}: QoS ${qos}, ${payload.length} bytes, "${payload.subarray(0, 60).toString()}"`)
      return
    }
    let times = this.#times.get(topic)
    if (!times) this.#times.set(topic, (times = []))
    times[n] = (times[n] ?? 0) + 1
    if (times[n] > 1) {
      if (stream.qos === 2) this.#note(`${topic}: ${n} came again`)
      return
    }
    this.distinct++
    const newest = this.#newest.get(topic) ?? 0
    if (n < newest) {
      this.#outOfOrder[stream.qos]++
      this.#note(`${topic}: ${n} came after ${newest}`)
    } else this.#newest.set(topic, n)
  }

  #note(what: string): void {
    if (this.examples.length < MAX_EXAMPLES) this.examples.push(`${this.subscriber}: ${what}`)
  }

  count(qos: Qos): Count {
    const count: Count = {
      subscriber: this.subscriber,
      qos,
      acknowledged: 0,
      delivered: 0,
      lost: 0,
      duplicates: 0,
      outOfOrder: this.#outOfOrder[qos],
      damaged: this.#damaged[qos],
    }
    for (const stream of this.#streams.values()) {
      if (stream.qos !== qos) continue
      const times = this.#times.get(stream.topic) ?? []
      count.acknowledged += stream.acknowledged.size
      for (const n of stream.acknowledged) if (times[n]) count.delivered++
      for (const n of times) if (n !== undefined && n > 1) count.duplicates += n - 1
    }
    count.lost = count.acknowledged - count.delivered
    return count
  }
}
