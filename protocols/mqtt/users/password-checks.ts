/**
 * Bounds the processor time that password hashes take. One hash costs a twentieth of a second or more, and any client
 * can make us compute one. So only a few are computed at once and sources take turns. When too many checks wait, the
 * source with the most waiting checks loses one. Others wait for at most one check of each flooding source.
 */
import { MeshError } from '../../../core/errors.ts'
import { guard } from '../../../core/defects/guard.ts'
import type { Metrics } from '../../../core/metrics.ts'
import type { MqttUsers } from '../../../model/mqtt/users.ts'

type Waiting = { readonly start: () => void; readonly refuse: (reason: unknown) => void }

export type CheckBounds = Pick<MqttUsers, 'maxPasswordChecks' | 'maxWaitingChecks'>

export class PasswordChecks {
  #maxRunning: number
  #maxWaiting: number
  /** By source, whose turn is next first. */
  readonly #waiting = new Map<string, Set<Waiting>>()
  #size = 0
  #running = 0

  constructor({ maxPasswordChecks, maxWaitingChecks, metrics }: CheckBounds & { readonly metrics: Metrics }) {
    this.#maxRunning = maxPasswordChecks
    this.#maxWaiting = maxWaitingChecks
    metrics.gaugeOf(
      'mesh_mqtt_password_checks_waiting',
      'Clients whose password waits to be checked.',
      () => this.#size,
    )
  }

  /** Other bounds. Who waits keeps its place. */
  use({ maxPasswordChecks, maxWaitingChecks }: CheckBounds): void {
    this.#maxRunning = maxPasswordChecks
    this.#maxWaiting = maxWaitingChecks
    while (this.#running < this.#maxRunning && this.#size > 0) {
      this.#running++
      this.#next()
    }
  }
  get waiting(): number {
    return this.#size
  }

  /**
   * @param signal of the client
   * @throws MESH_LISTENER_FULL, or the signal's reason, while it waits; what `check` throws
   */
  async run<T>(source: string, check: () => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted()
    if (this.#running >= this.#maxRunning) await this.#wait(source, signal)
    else this.#running++
    try {
      return await check()
    } finally {
      this.#next()
    }
  }

  /** The next waiting check takes over the slot directly, so a new one cannot slip in between. */
  #next(): void {
    const [source, of] = this.#waiting.entries().next().value ?? []
    const one = of?.values().next().value
    if (source === undefined || !of || !one || this.#running > this.#maxRunning) {
      this.#running--
      return
    }
    this.#leave(source, one)
    // Behind the others.
    if (this.#waiting.delete(source) && of.size > 0) this.#waiting.set(source, of)
    one.start()
  }

  #wait(source: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = guard('mqtt', reject, () => {
        this.#leave(source, one)
        reject(signal.reason as Error)
      })
      const one: Waiting = {
        start: () => {
          signal.removeEventListener('abort', onAbort)
          resolve()
        },
        refuse: (reason) => {
          signal.removeEventListener('abort', onAbort)
          reject(reason as Error)
        },
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#enter(source, one)
    })
  }
  #enter(source: string, one: Waiting): void {
    const of = this.#waiting.get(source) ?? new Set<Waiting>()
    this.#waiting.set(source, of.add(one))
    if (++this.#size <= this.#maxWaiting) return
    let most: [source: string, of: Set<Waiting>] = [source, of]
    for (const entry of this.#waiting) if (entry[1].size > most[1].size) most = entry
    const last = [...most[1]].at(-1)!
    this.#leave(most[0], last)
    last.refuse(
      new MeshError(
        'MESH_LISTENER_FULL',
        `${this.#maxWaiting} passwords wait to be checked (mqtt.users.maxWaitingChecks), and its source has most of them`,
      ),
    )
  }
  #leave(source: string, one: Waiting): void {
    const of = this.#waiting.get(source)
    if (!of?.delete(one)) return
    this.#size--
    if (of.size === 0) this.#waiting.delete(source)
  }
}
