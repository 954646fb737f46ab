/**
 * Listening sockets that the process was started with (listen-fds.ts). A listener whose address one of them has takes
 * that one instead of opening a port: it may be below 1024, it may be transparent (IP_TRANSPARENT, which Node cannot
 * set), and who connects while the agent restarts waits in its queue. Closing gives up this process's descriptor only;
 * it cannot be had again, so that is for the end.
 */
import net from 'node:net'
import type { ListenFds, PassedFd } from './listen-fds.ts'
import { BACKLOG, waitUntilOpen, toPlainAddress, type Address, type Network } from './network.ts'

/** `problem`: why no listener can have it. */
type Inherited = PassedFd & {
  readonly socket: net.Socket | undefined
  readonly at: Address | undefined
  readonly problem: string | undefined
  isTaken: boolean
}

export class InheritedSockets {
  readonly #all: readonly Inherited[]
  readonly #problem: string | undefined

  /** Nothing is accepted yet: that begins when a listener takes a socket. */
  constructor({ fds, problem }: ListenFds) {
    this.#all = fds.map(adopt)
    this.#problem = problem
  }

  /** True for an address that `network.listen` takes, or took, from here. */
  has(at: Address): boolean {
    return this.#all.some((one) => one.at !== undefined && fits(one.at, at))
  }

  /** Each with its name and why it serves nobody. @param spared those that may */
  unused(spared: (at: Address) => boolean = () => false): string[] {
    return [
      ...(this.#problem === undefined ? [] : [this.#problem]),
      ...this.#all
        .filter((one) => !one.isTaken && !(one.at && spared(one.at)))
        .map(({ fd, name, at, problem }) =>
          at === undefined
            ? `descriptor ${fd} (${name}) ${problem}`
            : `no listener has the address of descriptor ${fd} (${name}): ${at.host}:${at.port}`,
        ),
    ]
  }

  /** `network`, but for the addresses that are here. Each is given out once: to be disposed of at the end only. */
  over(network: Network): Network {
    return {
      ...network,
      listen: async (at, onStream) => {
        const one = this.#all.find((o) => !o.isTaken && o.at !== undefined && fits(o.at, at))
        if (!one) return network.listen(at, onStream)
        one.isTaken = true
        const listening = await waitUntilOpen((server) => {
          server.listen(one.socket, BACKLOG)
        }, onStream)
        return { ...listening, inherited: true }
      },
    }
  }
}

function adopt(passed: PassedFd): Inherited {
  const none = (problem: string): Inherited => ({
    ...passed,
    socket: undefined,
    at: undefined,
    problem,
    isTaken: false,
  })
  try {
    // Only to ask for its address: there is nothing to read or write in a listening socket.
    const socket = new net.Socket({ fd: passed.fd, readable: false, writable: false })
    const { address, port } = socket.address() as Partial<net.AddressInfo>
    if (address === undefined || port === undefined) return none('has no TCP port')
    if (socket.remoteAddress !== undefined) return none('is a connection: the socket unit says Accept=yes')
    return { ...passed, socket, at: { host: toPlainAddress(address), port }, problem: undefined, isTaken: false }
  } catch (err) {
    return none(`is no TCP socket (${err instanceof Error ? err.message : String(err)})`)
  }
}

/**
 * A socket of one address never stands in for all, nor one of all for a single one: neither more nor less may reach a
 * listener than was asked for.
 */
function fits(have: Address, asked: Address): boolean {
  // systemd opens a bare port number for both families.
  return have.port === asked.port && (have.host === asked.host || (have.host === '::' && asked.host === '0.0.0.0'))
}
