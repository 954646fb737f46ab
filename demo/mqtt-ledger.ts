import type { MqttClient } from 'mqtt'

/** What a subscriber got, by payload: what is missing, what came twice, and whether the order held. */
export class Ledger {
  readonly #times = new Map<string, number>()
  readonly order: string[] = []
  constructor(client: MqttClient, topicPrefix: string) {
    client.on('message', (topic, payload) => {
      if (!topic.startsWith(topicPrefix)) return
      const key = payload.toString()
      const times = (this.#times.get(key) ?? 0) + 1
      this.#times.set(key, times)
      if (times === 1) this.order.push(key)
    })
  }
  get delivered(): number {
    return this.#times.size
  }
  get duplicates(): number {
    return [...this.#times.values()].reduce((sum, n) => sum + n - 1, 0)
  }
  missing(sent: readonly string[]): number {
    return sent.filter((key) => !this.#times.has(key)).length
  }
  has(key: string): boolean {
    return this.#times.has(key)
  }
  times(key: string): number {
    return this.#times.get(key) ?? 0
  }
}
