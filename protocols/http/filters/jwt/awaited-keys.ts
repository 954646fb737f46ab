/** A request waits until the keys that its tokens name were looked for, whether they were found or not. */
import { detach, doNothing, guard } from '../../../../core/defects/guard.ts'
import type { MeshError } from '../../../../core/errors.ts'

export class AwaitedKeys {
  readonly #looked: Promise<unknown>
  readonly #owner: { abort(error: MeshError): void }
  readonly #done: () => void
  #isOver = false

  /** @param looked never rejects */
  constructor(looked: Promise<unknown>, owner: { abort(error: MeshError): void }, done: () => void) {
    this.#looked = looked
    this.#owner = owner
    this.#done = done
  }

  start(): void {
    const goOn = (): void => {
      if (!this.#isOver) this.#done()
    }
    detach('exchange', this.#looked.then(guard('exchange', (error) => this.#owner.abort(error), goOn)))
  }
  bodyGrew(): void {
    doNothing()
  }
  cancel(): void {
    this.#isOver = true
  }
}
