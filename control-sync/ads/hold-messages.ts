/** Messages of a gRPC call that wait for whoever takes them, and the server with them. */
import type * as Grpc from '@grpc/grpc-js'

export type HolderParts = Pick<typeof Grpc, 'InterceptingCall'>

/** What comes while it is closed waits for it to open. */
export class Gate {
  #isClosed = false
  #held: (() => void) | undefined

  close(): void {
    this.#isClosed = true
  }
  open(): void {
    this.#isClosed = false
    const held = this.#held
    this.#held = undefined
    held?.()
  }
  pass(go: () => void): void {
    if (this.#isClosed) this.#held = go
    else go()
  }
}

/**
 * grpc-js reads no message while the one before is not passed on, and HTTP/2 gives the server no room then. Its stream's
 * own `pause` takes 16 messages before, whatever their size.
 */
export function createHolder({ InterceptingCall }: HolderParts, gate: Gate): Grpc.Interceptor {
  return (options, nextCall) =>
    new InterceptingCall(nextCall(options), {
      start: (metadata, _, next) => {
        next(metadata, {
          onReceiveMessage: (message: unknown, pass: (message: unknown) => void) => gate.pass(() => pass(message)),
        })
      },
    })
}
