/**
 * One connection that hears of what other hubs and commands have written. What was said while it was not there is lost,
 * so its return is a change, too.
 */
import type { Client, Notification } from 'pg'
import { detach, doNothing, guard } from '../../../core/defects/guard.ts'
import { jitterMs, type Clock, type Random, type Timer } from '../../../core/os/clock.ts'
import type { Log } from '../../../core/log.ts'

export type ChangeListenerOptions = {
  readonly makeClient: () => Client
  readonly channel: string
  readonly onChange: (sender: string) => void
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

/** A connection that is dead without a word is noticed so soon. */
const PROBE_MS = 2_000
const RETRY = { firstMs: 200, lastMs: 10_000 }

export class ChangeListener implements AsyncDisposable {
  readonly #o: ChangeListenerOptions
  #client: Client | undefined
  #timer: Timer | undefined
  #failures = 0
  #isOver = false

  private constructor(o: ChangeListenerOptions) {
    this.#o = o
  }

  /** Rejects with what package pg says when there is no connection at the start. */
  static async open(o: ChangeListenerOptions): Promise<ChangeListener> {
    await using building = new AsyncDisposableStack()
    const listener = building.use(new ChangeListener(o))
    await listener.#connect()
    building.move()
    return listener
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true
    this.#timer?.cancel()
    await this.#leave()
  }

  async #connect(): Promise<void> {
    const client = this.#o.makeClient()
    const lost = guard('hub', doNothing, () => this.#lost(client))
    client.on('error', lost)
    client.on('end', lost)
    const heard = guard('hub', doNothing, ({ payload }: Notification) => this.#o.onChange(payload ?? ''))
    client.on('notification', heard)
    this.#client = client
    try {
      await client.connect()
      await client.query(`LISTEN ${this.#o.channel}`)
    } catch (err) {
      await this.#leave()
      throw err
    }
    this.#failures = 0
    this.#later(PROBE_MS, () => this.#probe(client))
  }

  async #probe(client: Client): Promise<void> {
    try {
      await client.query('SELECT 1')
      this.#later(PROBE_MS, () => this.#probe(client))
    } catch {
      this.#lost(client)
    }
  }

  #lost(client: Client): void {
    if (this.#client !== client || this.#isOver) return
    this.#o.log.warn(
      { evt: 'hub.store' },
      'the database has gone; what was revoked elsewhere is heard of when it is back',
    )
    detach('hub', this.#leave())
    this.#retryLater()
  }

  #retryLater(): void {
    const waitMs = Math.min(RETRY.lastMs, RETRY.firstMs * 2 ** this.#failures++)
    this.#later(jitterMs(waitMs, { fraction: 0.75, spread: 0.25 }, this.#o.random), () => this.#reconnect())
  }

  async #reconnect(): Promise<void> {
    try {
      await this.#connect()
    } catch {
      this.#retryLater()
      return
    }
    this.#o.log.info({ evt: 'hub.store' }, 'the database is back')
    this.#o.onChange('')
  }

  async #leave(): Promise<void> {
    const client = this.#client
    this.#client = undefined
    await client?.end().catch(doNothing)
  }

  #later(ms: number, work: () => Promise<void>): void {
    if (this.#isOver) return
    this.#timer?.cancel()
    this.#timer = this.#o.clock.after(
      ms,
      guard('hub', doNothing, () => detach('hub', work())),
    )
  }
}
