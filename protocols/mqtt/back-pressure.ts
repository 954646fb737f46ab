/**
 * Publishers that are faster than a receiver of QoS 1 or 2, while memory is short. What a session without a queue on the
 * disk has not taken yet waits in memory, and its publisher has long been answered. From half of the memory budget on
 * the publisher is read from in steps, with longer pauses the less is left, so that a receiver that reads can follow,
 * and neither of them is cut. It is not stopped: acknowledgements among what it sends may let its own messages go.
 *
 * A receiver that does not read holds nobody up for more than two seconds (shared-message.ts). It fills the budget, and
 * memory.ts says who gives way.
 */
import type { Clock } from '../../core/os/clock.ts'
import type { Cell } from '../../core/metrics.ts'
import type { MemoryBudget } from '../../core/runtime/memory-budget.ts'

/** Of the budget: so much of one publisher may join lines that are long between two pauses. */
const STEP_SHARE = 1 / 1024
/** When the budget is used up; at its half it is next to nothing. */
const LONGEST_PAUSE_MS = 250

type Parts = {
  readonly memory: { readonly budget: MemoryBudget }
  readonly ctx: { readonly clock: Clock }
  readonly counters: { readonly receiverWaits: Cell }
}
/** Whether the publisher is read from. */
type Reading = { hold(why: 'receivers'): void; release(why: 'receivers'): boolean }

export class BackPressure {
  readonly #p: Parts
  readonly #reading: Reading
  #bytes = 0
  #pause: DisposableStack | undefined
  #isOver = false

  constructor(parts: Parts, reading: Reading) {
    this.#p = parts
    this.#reading = reading
  }

  /** @param bytes of a message that has joined a long line of a receiver that reads; of others 0 */
  note(bytes: number): void {
    if (bytes === 0) return
    const { budget } = this.#p.memory
    this.#bytes += bytes
    if (this.#isOver || this.#pause || this.#bytes < budget.maxBytes * STEP_SHARE) return
    this.#bytes = 0
    this.#wait(budget)
  }
  #wait(budget: MemoryBudget): void {
    const { ctx, counters } = this.#p
    const shortage = Math.min(1, Math.max(0, (budget.heldBytes / budget.maxBytes) * 2 - 1))
    counters.receiverWaits.value++
    this.#reading.hold('receivers')
    const pause = (this.#pause = new DisposableStack())
    const goOn = (): void => {
      pause.dispose()
      this.#pause = undefined
      if (!this.#isOver) this.#reading.release('receivers')
    }
    const timer = ctx.clock.after(shortage * LONGEST_PAUSE_MS, goOn)
    pause.defer(() => timer.cancel())
    pause.use(budget.whenEased(goOn))
  }
  /** The connection is over. */
  end(): void {
    this.#isOver = true
    this.#pause?.dispose()
  }
}
