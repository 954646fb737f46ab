/**
 * Brings the subscriptions at an upstream broker to what the routes want: SUBSCRIBE for what is missing, UNSUBSCRIBE
 * for what is too much, one packet at a time.
 */
import type { Clock, Timer } from '../../../core/os/clock.ts'
import type { Log } from '../../../core/log.ts'
import { detach } from '../../../core/defects/guard.ts'
import type { BridgeCounters } from './counters.ts'
import type { BridgeRoute } from './plan.ts'
import type { Outbox } from '../codec/outbox.ts'
import type { Suback, SubscriptionRequest, Unsuback } from '../codec/packet.ts'
import { NO_PROPERTIES } from '../codec/properties.ts'
import { createViolation, REASON } from '../codec/reason.ts'

const ANSWER_MS = 10_000
/** What the peer has refused, or not answered, is asked for again: its rules may have changed. */
const RETRY_MS = 60_000
/** Filters and bytes per packet, where the peer's limit is not smaller. */
const MAX_FILTERS = 100
const MAX_PACKET_BYTES = 64 * 1024
/** Fixed header, packet id, and no properties. */
const HEAD_BYTES = 5 + 2 + 1
/** Length, and options. */
const MORE_PER_FILTER = 2 + 1

type Asked = {
  readonly packetId: number
  readonly filters: readonly string[]
  readonly options: readonly string[] | undefined
  readonly over: () => void
  readonly deadline: Timer
}

export type WantedFilter = Pick<BridgeRoute, 'filter' | 'maxQos' | 'sendRetained'>

type Parts = {
  readonly outbox: Outbox
  readonly clock: Clock
  readonly log: Log
  readonly counters: Pick<BridgeCounters, 'refusedSubscriptions'>
  /** Filter → QoS as the peer has it; kept across connections. */
  readonly subscribed: Map<string, string>
  /** What the peer takes [MQTT-3.2.2-15]. */
  maxPacketBytes(): number
  /** One that no message in flight has. */
  freePacketId(): number
}

export class BridgeSubscriptions {
  readonly #p: Parts
  #asked: Asked | undefined
  /** Filters that it does not grant, with the reason code that was told. At most as many as are wanted. */
  readonly #refused = new Map<string, number>()
  #retry: Timer | undefined
  #turn: Promise<void> = Promise.resolve()
  #over = false

  constructor(p: Parts) {
    this.#p = p
  }

  /** Resolves when the peer has answered, or did not in time. Never rejects. */
  want(routes: readonly WantedFilter[]): Promise<void> {
    this.#retry?.cancel()
    this.#turn = this.#turn.then(() => this.#bring(routes))
    return this.#turn
  }
  stop(): void {
    this.#over = true
    this.#retry?.cancel()
    this.#asked?.deadline.cancel()
    this.#asked?.over()
  }

  /** What the peer does not grant. */
  get refused(): readonly string[] {
    return [...this.#refused.keys()]
  }
  /** Of the packet that is not answered yet. */
  get askedId(): number | undefined {
    return this.#asked?.packetId
  }
  /** @throws MESH_MQTT_PROTOCOL */
  takeAnswer({ type, packetId, reasons }: Suback | Unsuback): void {
    const asked = this.#asked
    // Late, perhaps: what is not answered in time is asked for again.
    if (asked?.packetId !== packetId) return
    checkAnswer(asked, type, reasons)
    for (const [i, filter] of asked.filters.entries()) {
      if (asked.options === undefined) {
        this.#p.subscribed.delete(filter)
        continue
      }
      const reason = reasons[i]!
      if (reason < 0x80) {
        this.#p.subscribed.set(filter, asked.options[i]!)
        this.#refused.delete(filter)
      } else this.#tellRefused(filter, reason)
    }
    asked.deadline.cancel()
    asked.over()
  }

  async #bring(routes: readonly WantedFilter[]): Promise<void> {
    const wanted = new Map<string, SubscriptionRequest>()
    for (const { filter, maxQos, sendRetained } of routes) {
      // With retained messages, for it is sent when the subscription is new or what was retained may have changed
      // unseen; never what we sent ourselves (MQTT 5.0 §3.8.3.1).
      const known = wanted.get(filter)
      const qos = Math.max(maxQos, known?.qos ?? 0) as 0 | 1 | 2
      wanted.set(filter, {
        filter,
        qos,
        noLocal: !filter.startsWith('$share/'),
        retainAsPublished: true,
        retainHandling: sendRetained || known?.retainHandling === 0 ? 0 : 2,
      })
    }
    for (const filter of this.#refused.keys()) if (!wanted.has(filter)) this.#refused.delete(filter)
    const { subscribed, outbox } = this.#p
    const tooMuch = [...subscribed.keys()].filter((filter) => !wanted.has(filter))
    const missing = [...wanted.values()].filter((s) => subscribed.get(s.filter) !== String(s.qos))
    for (const filters of this.#packetsOf(tooMuch, (filter) => filter)) {
      await this.#ask(filters, undefined, (packetId) =>
        outbox.writePacket({ type: 'unsubscribe', packetId, filters, properties: NO_PROPERTIES }),
      )
    }
    for (const subscriptions of this.#packetsOf(missing, ({ filter }) => filter)) {
      await this.#ask(
        subscriptions.map((s) => s.filter),
        subscriptions.map((s) => String(s.qos)),
        (packetId) => outbox.writePacket({ type: 'subscribe', packetId, subscriptions, properties: NO_PROPERTIES }),
      )
    }
    if (this.#over || missing.every(({ filter, qos }) => subscribed.get(filter) === String(qos))) return
    this.#retry?.cancel()
    this.#retry = this.#p.clock.after(RETRY_MS, () => detach('bridge', this.want(routes)))
  }

  /** As many of them as go into one packet, each time. One that is too long for any is told, and left out. */
  *#packetsOf<T>(all: readonly T[], filterOf: (one: T) => string): Iterable<readonly T[]> {
    const maxBytes = Math.min(MAX_PACKET_BYTES + HEAD_BYTES, this.#p.maxPacketBytes())
    let [packet, bytes]: [T[], number] = [[], HEAD_BYTES]
    for (const one of all) {
      const filter = filterOf(one)
      const more = Buffer.byteLength(filter) + MORE_PER_FILTER
      if (HEAD_BYTES + more > maxBytes) {
        this.#tellRefused(filter, REASON.packetTooLarge)
        continue
      }
      if (packet.length >= MAX_FILTERS || bytes + more > maxBytes) {
        yield packet
        ;[packet, bytes] = [[], HEAD_BYTES]
      }
      packet.push(one)
      bytes += more
    }
    if (packet.length > 0) yield packet
  }
  /** Once for each reason. */
  #tellRefused(filter: string, reason: number): void {
    if (this.#refused.get(filter) === reason) return
    this.#refused.set(filter, reason)
    this.#p.counters.refusedSubscriptions.value++
    this.#p.log.warn(
      { evt: 'mqtt.bridge.subscribe', code: 'MESH_MQTT_UPSTREAM_REFUSED', filter, reason },
      'the upstream broker refuses a subscription',
    )
  }

  #ask(filters: readonly string[], options: Asked['options'], send: (packetId: number) => void): Promise<void> {
    if (this.#over) return Promise.resolve()
    return new Promise((resolve) => {
      const over = (): void => {
        this.#asked = undefined
        resolve()
      }
      const packetId = this.#p.freePacketId()
      const deadline = this.#p.clock.after(ANSWER_MS, () => {
        this.#p.log.warn(
          { evt: 'mqtt.bridge.subscribe', waitedMs: ANSWER_MS },
          'the upstream broker does not answer a subscription',
        )
        over()
      })
      this.#asked = { packetId, filters, options, over, deadline }
      send(packetId)
    })
  }
}

/** UNSUBACK has no reason codes in 3.1.1. */
function checkAnswer({ filters, options }: Asked, type: 'suback' | 'unsuback', reasons: readonly number[]): void {
  const wanted = options === undefined ? 'unsuback' : 'suback'
  if (type !== wanted)
    throw createViolation(REASON.protocolError, `the upstream broker sent ${type} for what ${wanted} answers`)
  if (reasons.length !== filters.length && (type === 'suback' || reasons.length > 0))
    throw createViolation(
      REASON.protocolError,
      `[MQTT-3.9.3-1] the upstream broker sent ${type} with ${reasons.length} reason codes for ${filters.length} filters`,
    )
  if (type === 'suback' && reasons.some((reason) => reason > 2 && reason < 0x80))
    throw createViolation(REASON.protocolError, '[MQTT-3.9.3-2] SUBACK has a reason code that is not defined')
}
