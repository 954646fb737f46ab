/**
 * Brings the subscriptions at an upstream broker to what the routes want: SUBSCRIBE for what is missing, UNSUBSCRIBE
 * for what is too much, one packet at a time.
 */
import type { Clock, Timer } from '../../../core/os/clock.ts'
import type { Log } from '../../../core/log.ts'
import type { BridgeRoute } from './plan.ts'
import type { Outbox } from '../codec/outbox.ts'
import type { SubscriptionRequest } from '../codec/packet.ts'
import { NO_PROPERTIES } from '../codec/properties.ts'

const ANSWER_MS = 10_000
/** Filters per packet, so that it stays far below any peer's limit. */
const MAX_FILTERS = 100

type Asked = {
  readonly packetId: number
  readonly filters: readonly string[]
  readonly options: readonly string[] | undefined
  readonly over: () => void
  readonly deadline: Timer
}

type Parts = {
  readonly outbox: Outbox
  readonly clock: Clock
  readonly log: Log
  /** Filter → QoS as the peer has it; kept across connections. */
  readonly subscribed: Map<string, string>
  /** One that no message in flight has. */
  freePacketId(): number
}

export class BridgeSubscriptions {
  readonly #p: Parts
  #asked: Asked | undefined
  #turn: Promise<void> = Promise.resolve()
  #over = false

  constructor(p: Parts) {
    this.#p = p
  }

  /** Resolves when the peer has answered, or did not in time. Never rejects. */
  want(routes: readonly BridgeRoute[]): Promise<void> {
    this.#turn = this.#turn.then(() => this.#bring(routes))
    return this.#turn
  }
  stop(): void {
    this.#over = true
    this.#asked?.deadline.cancel()
    this.#asked?.over()
  }

  /** Of the packet that is not answered yet. */
  get askedId(): number | undefined {
    return this.#asked?.packetId
  }
  /** SUBACK or UNSUBACK. */
  answered(packetId: number, reasons: readonly number[]): void {
    const asked = this.#asked
    if (asked?.packetId !== packetId) return
    for (const [i, filter] of asked.filters.entries()) {
      if (asked.options === undefined) {
        this.#p.subscribed.delete(filter)
        continue
      }
      const reason = reasons[i] ?? 0x80
      if (reason < 0x80) this.#p.subscribed.set(filter, asked.options[i]!)
      else
        this.#p.log.warn(
          { evt: 'mqtt.bridge.subscribe', code: 'MESH_MQTT_UPSTREAM_REFUSED', filter, reason },
          'the upstream broker refuses a subscription',
        )
    }
    asked.deadline.cancel()
    asked.over()
  }

  async #bring(routes: readonly BridgeRoute[]): Promise<void> {
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
    const { subscribed, outbox } = this.#p
    const tooMuch = [...subscribed.keys()].filter((filter) => !wanted.has(filter))
    const missing = [...wanted.values()].filter((s) => subscribed.get(s.filter) !== String(s.qos))
    for (let i = 0; i < tooMuch.length; i += MAX_FILTERS) {
      const filters = tooMuch.slice(i, i + MAX_FILTERS)
      await this.#ask(filters, undefined, (packetId) =>
        outbox.packet({ type: 'unsubscribe', packetId, filters, properties: NO_PROPERTIES }),
      )
    }
    for (let i = 0; i < missing.length; i += MAX_FILTERS) {
      const subscriptions = missing.slice(i, i + MAX_FILTERS)
      await this.#ask(
        subscriptions.map((s) => s.filter),
        subscriptions.map((s) => String(s.qos)),
        (packetId) => outbox.packet({ type: 'subscribe', packetId, subscriptions, properties: NO_PROPERTIES }),
      )
    }
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
