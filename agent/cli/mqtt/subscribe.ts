/** `meshlet mqtt sub`: mosquitto_sub's options and behaviour. */
import type { IClientSubscribeOptions, IPublishPacket, MqttClient } from 'mqtt'
import { MeshError } from '../../../core/errors.ts'
import { systemClock, systemRandom } from '../../../core/os/clock.ts'
import { matches } from '../../../protocols/mqtt/topics/topics.ts'
import type { Io } from '../io.ts'
import { createRequestError, rejectUsage, parseTarget, TIMED_OUT, withBroker, type Conversation } from './connection.ts'
import { MessageFormat } from './format.ts'
import type { ConnectOptions, OutputOptions } from './options.ts'

export type SubscribeOptions = ConnectOptions &
  OutputOptions & {
    readonly topic?: readonly string[]
    readonly filterOut?: readonly string[]
    readonly unsubscribe?: readonly string[]
    readonly count?: number
    readonly exitAfterSubscribe?: boolean
    /** False with -R. */
    readonly retained: boolean
    readonly retainAsPublished?: boolean
    readonly retainedOnly?: boolean
    readonly removeRetained?: boolean
    readonly randomFilter?: number
    readonly timeout?: number
  }

/** @returns exit code */
export async function subscribe(o: SubscribeOptions, io: Io): Promise<number> {
  const target = parseTarget(o)
  const filters = [...(o.topic ?? []), ...(target.topic === undefined ? [] : [target.topic])]
  if (filters.length === 0 && o.unsubscribe === undefined) rejectUsage('a topic filter is needed: -t')
  if (!o.retained && o.retainedOnly) rejectUsage('-R and --retained-only exclude each other')
  const print = createPrinter(o, io)
  return withBroker(o, io, target, (parts) => {
    const subscriber = new Subscriber({ o, io, filters, print, ...parts })
    parts.client.on('connect', () => subscriber.connected())
    parts.client.on('message', (topic, payload, packet) => subscriber.take(topic, payload, packet))
    endAfter(o, parts)
  })
}

type Parts = Parameters<Conversation>[0]
type SubscriberParts = Parts & {
  readonly o: SubscribeOptions
  readonly io: Io
  readonly filters: readonly string[]
  readonly print: ReturnType<typeof createPrinter>
}

/** -W. */
export function endAfter({ timeout }: { readonly timeout?: number }, { tell, finish }: Parts): void {
  if (timeout === undefined) return
  systemClock.after(timeout * 1000, () => {
    tell(new MeshError('MESH_REQUEST_TIMEOUT', `${timeout} s are over (-W)`))
    finish(TIMED_OUT)
  })
}

/** Prints a message; a reader that is gone ends the command. */
export function createPrinter(
  o: OutputOptions,
  io: Io,
): (topic: string, payload: Buffer, packet: IPublishPacket) => void {
  const format = new MessageFormat(o, io.isTerminal === true)
  return (topic, payload, packet) => {
    const { bytes, error } = format.format({ topic, payload, packet }, systemClock.wallMs())
    if (error !== undefined) io.err(`meshlet: ${error}\n`)
    if (io.outBytes) io.outBytes(bytes)
    else io.out(bytes.toString('utf8'))
  }
}

class Subscriber {
  readonly #p: SubscriberParts
  #count = 0
  /** Retained messages that are being removed. */
  #removing = 0
  #isOver = false

  constructor(p: SubscriberParts) {
    this.#p = p
  }

  connected(): void {
    const { client, o, filters, properties } = this.#p
    if (filters.length > 0) this.#subscribe(client)
    if (o.unsubscribe)
      client.unsubscribe([...o.unsubscribe], { properties: properties.unsubscribe }, (err) => {
        if (err) this.#fail('the broker refused to unsubscribe', err)
        else if (filters.length === 0) this.#end()
      })
  }
  #subscribe(client: MqttClient): void {
    const { o, filters, properties } = this.#p
    const options: IClientSubscribeOptions = {
      qos: o.qos,
      // MQTT 5.0 §3.8.3.1: none at all rather than to be left out here.
      rh: o.retained ? 0 : 2,
      rap: o.retainAsPublished ?? false,
    }
    const map = Object.fromEntries(filters.map((filter) => [filter, options]))
    client.subscribe(map, { qos: o.qos, properties: properties.subscribe }, (err, granted = [], suback) => {
      const reasons = suback?.granted as readonly number[] | undefined
      if (reasons === undefined ? err : reasons.every((reason) => reason >= 0x80))
        this.#fail('the broker refused all subscriptions', err ?? new Error('not authorized'))
      else if (o.exitAfterSubscribe) this.#end()
      if (o.debug && granted.length > 0) this.#p.io.err(`subscribed: ${String(reasons ?? granted.map((g) => g.qos))}\n`)
    })
  }

  take(topic: string, payload: Buffer, packet: IPublishPacket): void {
    const { o } = this.#p
    if (this.#isOver) return
    if (o.retainedOnly && !packet.retain) {
      this.#end()
      return
    }
    if (packet.retain && !o.retained) return
    if (o.filterOut?.some((filter) => matches(filter, topic))) return
    if (o.removeRetained && packet.retain) this.#remove(topic)
    // Of all that counts, only some is shown.
    if (o.randomFilter === undefined || systemRandom.float() * 100 < o.randomFilter)
      this.#p.print(topic, payload, packet)
    if (o.count !== undefined && ++this.#count >= o.count) this.#end()
  }

  #remove(topic: string): void {
    this.#removing++
    this.#p.client.publish(topic, '', { qos: 1, retain: true }, (err) => {
      this.#removing--
      if (err) this.#p.tell(createRequestError(`the broker refused to remove the retained message of ${topic}`, err))
      if (this.#isOver) this.#end()
    })
  }
  #fail(what: string, cause: unknown): void {
    this.#p.tell(createRequestError(what, cause))
    this.#p.finish(1)
  }
  /** Once nothing is on its way that was asked for. */
  #end(): void {
    this.#isOver = true
    if (this.#removing === 0) this.#p.finish(0)
  }
}
