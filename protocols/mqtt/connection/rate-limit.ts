/**
 * Limits how fast one connection may publish. A connection above the rate of its user is not read from until the rate
 * allows it again.
 */
import type { Timer } from '../../../core/os/clock.ts'
import { MeshError } from '../../../core/errors.ts'
import type { Quota, SharedRate } from '../session/user-quotas.ts'
import type { BrokerState } from '../state.ts'
import type { Reading } from '../pauses.ts'

export type RateLimitOptions = {
  readonly state: Pick<BrokerState, 'quotas' | 'ctx' | 'counters'>
  readonly share: string
  readonly clientId: string
  /** By the policy of this moment. */
  readonly quota: () => Quota | undefined
  readonly reading: Pick<Reading, 'hold' | 'release' | 'takePackets'>
}

export class RateLimit implements Disposable {
  readonly #o: RateLimitOptions
  #rate: SharedRate | undefined
  #timer: Timer | undefined
  #isTold = false

  constructor(options: RateLimitOptions) {
    this.#o = options
  }

  /** A PUBLISH has come. @returns why it is not to be taken, however long it would wait */
  charge(bytes: number): MeshError | undefined {
    const quota = this.#o.quota()
    if (!quota || (quota.maxBytesPerSec === undefined && quota.maxMessagesPerSec === undefined)) return undefined
    const { state, share } = this.#o
    this.#rate ??= state.quotas.enterRate(share)
    const waitMs = this.#rate.charge(bytes, quota)
    if (waitMs === undefined) return this.#refuse(bytes)
    if (waitMs > 0) this.#hold(waitMs)
    return undefined
  }
  [Symbol.dispose](): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#rate?.[Symbol.dispose]()
    this.#rate = undefined
  }

  #refuse(bytes: number): MeshError {
    const { state, share, clientId } = this.#o
    const err = new MeshError(
      'MESH_MQTT_RATE',
      `with this message of ${bytes} bytes ${share} would have sent what it may in more than ten seconds (mqtt.quotas[].maxMessagesPerSec, maxBytesPerSec)`,
    )
    state.counters.refused('quota').value++
    state.ctx.log.warn({ evt: 'mqtt.publish.refused', clientId, err }, 'message was not taken')
    return err
  }

  #hold(waitMs: number): void {
    if (this.#timer) return
    const { state, reading, clientId, share } = this.#o
    reading.hold('rate')
    if (!this.#isTold) {
      this.#isTold = true
      state.ctx.log.info(
        { evt: 'mqtt.client.slowed', clientId, share },
        'client is over the rate of mqtt.quotas and is read from more slowly',
      )
    }
    this.#timer = state.ctx.clock.after(waitMs, () => {
      this.#timer = undefined
      if (reading.release('rate')) reading.takePackets()
    })
  }
}
