/**
 * What a broker owes its clients, kept beside a real one: who must have which message, who may, and who must not
 * (MQTT 5.0 §3.3, §3.8, §3.10, §4.6). Steps are one after the other; within one, what different clients do has no order.
 */
import { matches, parseSharedFilter } from '../../../../protocols/mqtt/topics/topics.ts'
import type { Told } from './conversation.ts'

type Publication = {
  readonly text: string
  readonly topic: string
  readonly from: string
  readonly step: number
  readonly retain: boolean
  /** Of the same client, in its order. */
  readonly order: number
  /** Its sender was cut off in the same step: it may never have arrived. */
  isUncertain: boolean
}
type Subscription = { readonly step: number; readonly order: number; readonly filter: string; isShared: boolean }
type Got = { readonly topic: string; readonly text: string; readonly retain: boolean; readonly dup: boolean }

export class Model {
  step = 0
  #order = 0
  readonly #published = new Map<string, Publication>()
  readonly #last = new Map<string, Publication>()
  readonly #retained = new Map<string, Publication | undefined>()
  /** Ever retained, with the step in which another took its place. */
  readonly #wasRetained = new Map<string, { readonly from: number; until: number }>()
  readonly #clients = new Map<string, ClientModel>()

  client(id: string): ClientModel {
    let known = this.#clients.get(id)
    if (!known) this.#clients.set(id, (known = new ClientModel(id, (text) => this.#wasRetained.has(text))))
    return known
  }
  /** @returns the text that it goes with */
  told(id: string, packet: Told): string {
    const client = this.client(id)
    const order = ++this.#order
    if (packet.kind === 'subscribe') client.subscribe(packet.filter, this.step, order)
    else if (packet.kind === 'unsubscribe') client.unsubscribe(packet.filter, this.step)
    else return this.#publish(id, packet, order)
    return ''
  }
  connected(id: string, isKept: boolean): void {
    this.client(id).connected(isKept, this.step, ++this.#order)
  }
  /** The connection has ended. */
  dropped(id: string): void {
    this.client(id).dropped(this.step)
    for (const one of this.#published.values()) {
      if (one.from !== id || one.step !== this.step) continue
      one.isUncertain = true
      // What it was to replace may be retained still.
      for (const [text, was] of this.#wasRetained)
        if (was.until === this.step && this.#published.get(text)?.topic === one.topic) was.until = Infinity
    }
  }
  #publish(from: string, { topic, retain }: Extract<Told, { kind: 'publish' }>, order: number): string {
    const publication = { text: String(order), topic, from, step: this.step, retain, order, isUncertain: false }
    this.#published.set(publication.text, publication)
    this.#last.set(topic, publication)
    if (retain) {
      const before = this.#retained.get(topic)
      if (before) this.#wasRetained.get(before.text)!.until = this.step
      this.#retained.set(topic, publication)
      this.#wasRetained.set(publication.text, { from: this.step, until: Infinity })
    }
    for (const client of this.#clients.values()) client.published(publication)
    return publication.text
  }

  /** Once everything of a step is durable and has come. @returns what is wrong, in words */
  check(): string[] {
    return [...this.#clients.values()].flatMap((client) => [
      ...client.takeWrong(this.#published, this.#wasRetained),
      ...(client.isConnected ? client.missing(this.#last, this.#retained) : []),
    ])
  }
}

class ClientModel {
  readonly #isValue: (text: string) => boolean
  readonly id: string
  isConnected = false
  isKept = false
  #connectedOrder = 0
  #subscriptions = new Map<string, Subscription>()
  /** Also those that ended, with the step: what was on its way may still come. */
  #ever: { readonly filter: string; readonly from: number; until: number }[] = []
  /** Its own messages that it must not have: it had unsubscribed before, in order. */
  readonly #forbidden = new Set<string>()
  /** Its own that it must have: it had subscribed before, in order. */
  #got: Got[] = []
  #unchecked: Got[] = []

  /** @param isValue whether a message was retained */
  constructor(id: string, isValue: (text: string) => boolean) {
    this.id = id
    this.#isValue = isValue
  }
  connected(isKept: boolean, step: number, order: number): void {
    if (!isKept || !this.isKept) this.#endSession(step)
    this.isConnected = true
    this.isKept = isKept
    this.#connectedOrder = order
    this.#got = []
  }
  dropped(step: number): void {
    this.isConnected = false
    // An UNSUBSCRIBE of this step may not have arrived.
    for (const one of this.#ever) if (one.until === step) one.until = Infinity
    if (!this.isKept) this.#endSession(step)
  }
  subscribe(filter: string, step: number, order: number): void {
    this.unsubscribe(filter, step)
    const shared = parseSharedFilter(filter)
    const isShared = typeof shared === 'object'
    const plain = isShared ? shared.filter : filter
    this.#subscriptions.set(filter, { step, order, filter: plain, isShared })
    this.#ever.push({ filter: plain, from: step, until: Infinity })
  }
  unsubscribe(filter: string, step: number): void {
    const known = this.#subscriptions.get(filter)
    if (!known) return
    this.#subscriptions.delete(filter)
    for (const one of this.#ever) if (one.filter === known.filter && one.until === Infinity) one.until = step
    // Another subscription with the same filter, alone or in a group, goes on.
    for (const one of this.#subscriptions.values())
      if (one.filter === known.filter) this.#ever.push({ filter: one.filter, from: step, until: Infinity })
  }
  published({ from, topic, text }: Publication): void {
    if (from !== this.id || !this.isConnected) return
    if (![...this.#subscriptions.values()].some(({ filter }) => matches(filter, topic))) this.#forbidden.add(text)
  }
  got(one: Got): void {
    this.#got.push(one)
    this.#unchecked.push(one)
  }

  takeWrong(
    published: ReadonlyMap<string, Publication>,
    wasRetained: ReadonlyMap<string, { readonly from: number; readonly until: number }>,
  ): string[] {
    const wrong: string[] = []
    for (const { topic, text, retain, dup } of this.#unchecked.splice(0)) {
      const publication = published.get(text)
      if (publication?.topic !== topic) wrong.push(`${this.id} got ${topic} ${text}, which nobody published`)
      else if (!retain && !dup && this.#forbidden.has(text) && !wasRetained.has(text))
        wrong.push(`${this.id} got its own ${topic} ${text}, which came behind its UNSUBSCRIBE [MQTT-3.10.4-2]`)
      else if (!this.#mayHave(publication, wasRetained.get(text)))
        wrong.push(`${this.id} got ${topic} ${text}, for which it had no subscription`)
    }
    return wrong
  }
  #mayHave({ topic, step }: Publication, retained: { from: number; until: number } | undefined): boolean {
    return this.#ever.some(
      ({ filter, from, until }) =>
        matches(filter, topic) &&
        ((from <= step && step <= until) ||
          (retained !== undefined && retained.from <= until && from <= retained.until)),
    )
  }

  /**
   * Of each topic that it has subscribed to alone, on this connection: the newest message, and last of all that were
   * retained the value of now. A retained one may come behind a newer live one that is not.
   */
  missing(last: ReadonlyMap<string, Publication>, retained: ReadonlyMap<string, Publication | undefined>): string[] {
    return [...last].flatMap(([topic, newest]) => {
      const since = this.#sinceOf(topic)
      if (!since || newest.isUncertain) return []
      const came = this.#got.filter((one) => one.topic === topic)
      if (this.#mustHave(newest, since) && !came.some(({ text }) => text === newest.text))
        return [`${this.id} has not got ${topic} ${newest.text}, for which it had a subscription`]
      const value = retained.get(topic)
      if (
        !value ||
        value.isUncertain ||
        !(this.#mustHave(value, since) || this.#mustHaveRetained(value, newest, since))
      )
        return []
      const lastValue = came.filter(({ text }) => this.#isValue(text)).at(-1)
      if (lastValue?.text === value.text) return []
      return [`${this.id} has ${lastValue?.text ?? 'nothing'} of ${topic} last, and ${value.text} is retained`]
    })
  }
  /** The oldest subscription that matches and counts on this connection. */
  #sinceOf(topic: string): Subscription | undefined {
    return [...this.#subscriptions.values()]
      .filter(({ filter, isShared, order }) => !isShared && matches(filter, topic) && order > this.#connectedOrder)
      .sort((a, b) => a.order - b.order)[0]
  }
  #mustHave({ from, step, order, retain }: Publication, since: Subscription): boolean {
    if (step !== since.step) return step > since.step
    return from === this.id ? order > since.order || retain : retain
  }
  /** It was there when the subscription was made, and nothing took its place. */
  #mustHaveRetained(due: Publication, newest: Publication, since: Subscription): boolean {
    return due.step <= since.step && (newest.step < since.step || newest.from === this.id)
  }
  #endSession(step: number): void {
    this.#subscriptions.clear()
    for (const one of this.#ever) one.until = Math.min(one.until, step)
  }
}
