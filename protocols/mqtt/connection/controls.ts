/**
 * SUBSCRIBE and UNSUBSCRIBE of one connection: each acts after the one before it, and they are answered in that order.
 * What was asked for in one go waits for one commit.
 */
import { toMeshError, type MeshError } from '../../../core/errors.ts'
import { detached } from '../../../core/defects/guard.ts'
import type { Subscribe, Unsubscribe } from '../codec/packet.ts'
import { Fifo } from '../fifo.ts'
import type { Answer } from '../session/subscribe.ts'

/** Filters that wait for the store before the client is not read from. */
const MAX_WAITING_FILTERS = 256

type Control = Subscribe | Unsubscribe
export type ControlsOptions = {
  readonly act: (packet: Control) => Answer | Promise<Answer>
  /** As many wait as may. */
  readonly onFull: () => void
  /** No longer so many. */
  readonly onRoom: () => void
  readonly close: (err: MeshError) => void
}

export class Controls {
  readonly #o: ControlsOptions
  /** While a SUBSCRIBE waits for its queue: what comes behind it acts behind it. */
  #acting: Promise<void> | undefined
  readonly #answers = new Fifo<{ readonly answer: Answer; readonly filters: number }>()
  #isAnswering = false
  #waitingFilters = 0

  constructor(options: ControlsOptions) {
    this.#o = options
  }

  take(packet: Control): void {
    const { act, onFull, close } = this.#o
    const filters = packet.type === 'subscribe' ? packet.subscriptions.length : packet.filters.length
    this.#waitingFilters += filters
    if (this.#waitingFilters >= MAX_WAITING_FILTERS) onFull()
    const answer = this.#acting ? this.#acting.then(() => act(packet)) : act(packet)
    if (!(answer instanceof Promise)) {
      this.#enqueue(answer, filters)
      return
    }
    const mine = answer
      .then((made) => this.#enqueue(made, filters))
      .catch((err: unknown) => close(toMeshError(err)))
      .finally(() => {
        if (this.#acting === mine) this.#acting = undefined
      })
    this.#acting = mine
  }

  #enqueue(answer: Answer, filters: number): void {
    this.#answers.push({ answer, filters })
    if (!this.#isAnswering) this.#answerNext()
  }
  #answerNext(): void {
    for (let next = this.#answers.first(); next !== undefined; next = this.#answers.first()) {
      const { durable } = next.answer
      this.#isAnswering = durable !== undefined
      if (durable) {
        detached(
          'mqtt',
          durable.then(
            () => this.#committed(durable, undefined),
            (err: unknown) => this.#committed(durable, toMeshError(err)),
          ),
          (err) => this.#o.close(err),
        )
        return
      }
      this.#tell(undefined)
    }
  }
  #committed(durable: Promise<void>, failed: MeshError | undefined): void {
    while (this.#answers.first()?.answer.durable === durable) this.#tell(failed)
    this.#isAnswering = false
    this.#answerNext()
  }
  #tell(failed: MeshError | undefined): void {
    const { answer, filters } = this.#answers.shift()!
    try {
      answer.tell(failed)
    } catch (thrown) {
      this.#o.close(toMeshError(thrown))
    }
    this.#waitingFilters -= filters
    if (this.#waitingFilters < MAX_WAITING_FILTERS / 2) this.#o.onRoom()
  }
}
