/**
 * Finds connections that a capture rule leads from this process back into it: without an end, as each is passed on to
 * where it was going. The rules are to spare meshlet's user; where they do not, this says so instead of using up
 * limits.maxConnections. Only what goes to an original destination can go in circles, so that nothing else pays for it.
 */
import { MeshError } from '../core/errors.ts'
import type { Address, NetStream } from '../core/os/network.ts'
import { memoize } from '../core/memoize.ts'

type Ends = Pick<NetStream, 'local' | 'remote'>

export class CaptureLoop {
  readonly #dialed = new Set<string>()
  readonly #captured = new Set<string>()

  /** Until disposed of, a captured connection is open. Throws MESH_CAPTURE_LOOP when its other end is one of ours. */
  captured({ local, remote }: Ends): Disposable {
    return entered(remote, local, this.#captured, this.#dialed)
  }

  /**
   * Until disposed of, our connection to an original destination is open. Which end of one connection is heard of first
   * is a matter of chance: throws as well.
   */
  dialed({ local, remote }: Ends): Disposable {
    return entered(local, remote, this.#dialed, this.#captured)
  }
}

/** Both addresses: the kernel gives one port to connections with different destinations. */
function entered(from: Address, to: Address, into: Set<string>, others: ReadonlySet<string>): Disposable {
  const key = `${from.host} ${from.port} ${to.host} ${to.port}`
  if (others.has(key))
    throw new MeshError(
      'MESH_CAPTURE_LOOP',
      `the connection from ${from.host}:${from.port} to ${to.host}:${to.port} is meshlet's own, and was captured`,
    )
  into.add(key)
  return {
    [Symbol.dispose]: () => {
      into.delete(key)
    },
  }
}

/** One for everybody with the same context. */
export const getCaptureLoop = memoize((_ctx: object) => new CaptureLoop())
