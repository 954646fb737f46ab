/**
 * Who waits for a transaction. Its promise is one for all clients, and so is what becomes of it: five hundred with one
 * message each would else make five hundred reactions, each with functions of its own.
 */
import { detach, guard } from '../../../core/defects/guard.ts'
import { type MeshError, toMeshError } from '../../../core/errors.ts'

/** A client that waits for its messages of one transaction. What its callbacks throw ends it. */
interface CommitWaiter {
  committed(): void
  refused(err: MeshError): void
  close(err: MeshError): void
}
const tellCommitted = guard('mqtt', close, (one: CommitWaiter) => one.committed())
const tellRefused = guard('mqtt', close, (one: CommitWaiter, err: MeshError) => one.refused(err))
function close(err: MeshError, one: CommitWaiter): void {
  one.close(err)
}

export class CommitWaiters {
  #last: { readonly promise: Promise<void>; readonly all: CommitWaiter[] } | undefined

  /** Told in the order in which they came. */
  add(promise: Promise<void>, one: CommitWaiter): void {
    if (this.#last?.promise === promise) this.#last.all.push(one)
    else this.#listen(promise, one)
  }
  #listen(promise: Promise<void>, first: CommitWaiter): void {
    const asked = (this.#last = { promise, all: [first] })
    const over = (): void => {
      if (this.#last === asked) this.#last = undefined
    }
    const told = promise.then(
      () => {
        over()
        for (const one of asked.all) tellCommitted(one)
      },
      (err: unknown) => {
        over()
        for (const one of asked.all) tellRefused(one, toMeshError(err))
      },
    )
    detach('mqtt', told)
  }
}

/** What one client has asked of one transaction. */
export class Asked<T> implements CommitWaiter {
  readonly #client: AskedBy<T>
  readonly promise: Promise<void>
  readonly ones: T[]
  readonly sinceMs: number

  constructor(client: AskedBy<T>, promise: Promise<void>, first: T, sinceMs: number) {
    this.#client = client
    this.promise = promise
    this.ones = [first]
    this.sinceMs = sinceMs
  }
  committed(): void {
    this.#client.committed(this)
  }
  refused(err: MeshError): void {
    this.#client.refused(this, err)
  }
  close(err: MeshError): void {
    this.#client.close(err)
  }
}
type AskedBy<T> = {
  committed(asked: Asked<T>): void
  refused(asked: Asked<T>, err: MeshError): void
  close(err: MeshError): void
}
