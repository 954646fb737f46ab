/**
 * The ports that are open: brings the set of bound listeners to what is wanted. A listener whose address stays keeps
 * its socket while its content changes; a port that cannot be opened is reported and tried again, and the others are
 * served meanwhile. A socket that was inherited could not be opened again: when its listener goes it rests, and whoever
 * comes is refused, until a listener has that address again.
 */
import type { Clock, Timer } from '../../core/os/clock.ts'
import { MeshError } from '../../core/errors.ts'
import { detach } from '../../core/defects/guard.ts'
import type { Log } from '../../core/log.ts'
import type { Listening, Network, NetStream } from '../../core/os/network.ts'
import { pauseMs } from '../../core/os/until-it-works.ts'
import { ipBytes } from '../../model/ip.ts'
import type { Listener, ListenerAddress } from '../../model/listener.ts'

export type PortStatus = {
  readonly name: string
  readonly address: string
  readonly state: 'listening' | 'failed'
  readonly error: MeshError | undefined
}
/** `rests`: its listener, of which `listener` is the last version, is gone. */
type Bound = Wanted & { socket: Listening | undefined; error: MeshError | undefined; parked: boolean }
/** One of the addresses of a listener. */
type Wanted = { listener: Listener; at: ListenerAddress }
type PortsOptions = {
  readonly network: Network
  readonly clock: Clock
  readonly log: Log
  /** @param at where it was accepted; the port is the one that the kernel gave */
  readonly accept: (accepted: NetStream, listener: Listener, at: ListenerAddress) => void
  /**
   * To whom of agent.yaml the port of a listener belongs, be it open or not; undefined: to nobody else. Then it is not
   * opened.
   */
  readonly ownedBy: (listener: Listener, at: ListenerAddress) => string | undefined
  /** Takes connections of a socket whose listener is gone. */
  readonly refuse: (accepted: NetStream, last: Listener) => void
}

export class Ports implements AsyncDisposable {
  readonly #network: Network
  readonly #clock: Clock
  readonly #log: Log
  readonly #accept: PortsOptions['accept']
  readonly #refuse: PortsOptions['refuse']
  readonly #ownedBy: PortsOptions['ownedBy']
  readonly #bound = new Map<string, Bound>()
  /** By address. */
  readonly #resting = new Map<string, Bound>()
  #work: Promise<void> = Promise.resolve()
  #retry: Timer | undefined
  #failures = 0
  #wanted: ReadonlyMap<string, Listener> = new Map()
  #closed = false

  constructor(p: PortsOptions) {
    this.#network = p.network
    this.#clock = p.clock
    this.#log = p.log
    this.#accept = p.accept
    this.#refuse = p.refuse
    this.#ownedBy = p.ownedBy
  }

  /** Resolves when every wanted port has been tried; failures stand in `status`. Calls are worked off in order. */
  apply(wanted: ReadonlyMap<string, Listener>): Promise<void> {
    this.#failures = 0
    return this.#apply(wanted)
  }
  /** This machine's addresses have changed: what failed is tried at once. */
  again(): Promise<void> {
    return this.apply(this.#wanted)
  }

  get settled(): Promise<void> {
    return this.#work
  }

  status(): PortStatus[] {
    return [...this.#bound.values()].map(({ listener: l, at, socket, error }) => ({
      name: l.name,
      address: l.unixMode === undefined ? `${at.address}:${socket?.port ?? at.port}` : at.address,
      state: socket ? 'listening' : 'failed',
      error,
    }))
  }
  /** The port that the kernel gave, for listeners with port 0. */
  portOf(name: string): number | undefined {
    return this.#bound.get(name)?.socket?.port
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    this.#retry?.cancel()
    await this.apply(new Map())
    for (const { socket } of this.#resting.values()) await socket?.[Symbol.asyncDispose]()
  }

  #apply(wanted: ReadonlyMap<string, Listener>): Promise<void> {
    this.#wanted = wanted
    this.#work = this.#work.then(() => this.#change(wanted))
    return this.#work
  }

  async #change(wanted: ReadonlyMap<string, Listener>): Promise<void> {
    const every = listAddresses(wanted)
    for (const [key, bound] of this.#bound) {
      const next = every.get(key)
      if (next && next.listener.unixMode === bound.listener.unixMode && isSameAddress(next.at, bound.at)) {
        bound.listener = next.listener
        continue
      }
      this.#bound.delete(key)
      await this.#close(bound)
      this.#log.info({ evt: 'listener.closed', listener: bound.listener.name }, 'listener closed')
    }
    for (const [key, one] of every) {
      if (this.#bound.get(key)?.socket) continue
      const rested = this.#resting.get(portKey(one.at))
      const bound: Bound = rested ?? { ...one, socket: undefined, error: undefined, parked: false }
      this.#bound.set(key, bound)
      if (rested) this.#unpark(rested, one.listener)
      else await this.#open(bound)
    }
    this.#scheduleRetry(wanted)
  }

  async #close(bound: Bound): Promise<void> {
    if (this.#closed || !bound.socket?.inherited) {
      await bound.socket?.[Symbol.asyncDispose]()
      return
    }
    bound.parked = true
    this.#resting.set(portKey(bound.at), bound)
  }

  #unpark(bound: Bound, listener: Listener): void {
    this.#resting.delete(portKey(bound.at))
    bound.listener = listener
    bound.parked = false
    this.#opened(bound)
  }

  async #open(bound: Bound): Promise<void> {
    const { name, unixMode } = bound.listener
    const { address, port, ipv4Compat } = bound.at
    const where = `the ${unixMode === undefined ? `port ${address}:${port}` : `socket ${address}`} of listener ${name}`
    try {
      const owner = this.#ownedBy(bound.listener, bound.at) ?? this.#openFor(bound)
      if (owner !== undefined) throw new MeshError('MESH_PORT_IN_USE', `${where} belongs to ${owner}`)
      bound.listener.prepare?.()
      bound.socket = await this.#network.listen(
        { host: address, port, ipv6Only: ipv4Compat !== true, unixMode },
        (accepted) => {
          if (bound.parked) this.#refuse(accepted, bound.listener)
          else this.#accept(accepted, bound.listener, { address, port: bound.socket?.port ?? port })
        },
      )
      this.#opened(bound)
    } catch (err) {
      bound.error = err instanceof MeshError ? err : toPortError(err as NodeJS.ErrnoException, where)
      this.#log.warn(
        { evt: 'listener.failed', listener: name, retryInMs: pauseMs(this.#failures + 1), err: bound.error },
        'a port cannot be opened',
      )
    }
  }

  /** Another listener that has the same port open. */
  #openFor(bound: Bound): string | undefined {
    const other = [...this.#bound.values()].find((b) => b.socket && b !== bound && overlap(b.at, bound.at))
    return other && `listener ${other.listener.name}`
  }

  #opened({ listener: { name }, at: { address }, socket }: Bound): void {
    this.#log.info(
      {
        evt: 'listener.open',
        listener: name,
        address,
        port: socket?.port,
        ...(socket?.inherited ? { inherited: true } : {}),
      },
      'listening',
    )
  }

  #scheduleRetry(wanted: ReadonlyMap<string, Listener>): void {
    this.#retry?.cancel()
    if (this.#closed || [...this.#bound.values()].every((b) => b.socket)) return
    this.#retry = this.#clock.after(pauseMs(++this.#failures), () => {
      detach('configuration', this.#apply(wanted))
    })
  }
}

/** Each address of each listener, by what stays the same while it does: the first one by the listener's name. */
function listAddresses(wanted: ReadonlyMap<string, Listener>): ReadonlyMap<string, Wanted> {
  const every = new Map<string, Wanted>()
  for (const [name, listener] of wanted) {
    every.set(name, { listener, at: listener })
    for (const at of listener.additional ?? []) every.set(`${name} ${portKey(at)}`, { listener, at })
  }
  return every
}

export function isSamePort(a: Listener, b: Listener): boolean {
  const [others, more] = [a.additional ?? [], b.additional ?? []]
  return (
    a.unixMode === b.unixMode &&
    isSameAddress(a, b) &&
    others.length === more.length &&
    others.every((at, i) => isSameAddress(at, more[i]!))
  )
}
function isSameAddress(a: ListenerAddress, b: ListenerAddress): boolean {
  return a.address === b.address && a.port === b.port && (a.ipv4Compat ?? false) === (b.ipv4Compat ?? false)
}

export type AddressAndPort = {
  readonly address: string
  readonly port: number
  readonly ipv4Compat?: boolean | undefined
}
/** Whether one of two sockets could not be opened beside the other. */
export function overlap(a: AddressAndPort, b: AddressAndPort): boolean {
  return (
    a.port !== 0 &&
    a.port === b.port &&
    (isSame(a.address, b.address) || takesIn(a, b.address) || takesIn(b, a.address))
  )
}
/** At one of its addresses. */
export function hasAddress(listener: Listener, at: AddressAndPort): boolean {
  return overlap(listener, at) || (listener.additional?.some((one) => overlap(one, at)) ?? false)
}
/** However it is written: an IPv6 address has many forms (RFC 4291 §2.2). */
function isSame(a: string, b: string): boolean {
  return a === b || (a.includes(':') && b.includes(':') && String(ipBytes(a)) === String(ipBytes(b) ?? ''))
}
function takesIn({ address, ipv4Compat }: AddressAndPort, other: string): boolean {
  const isIpv6 = other.includes(':')
  return address === '::' ? isIpv6 || ipv4Compat === true : address === '0.0.0.0' && !isIpv6
}

function portKey({ address, port }: ListenerAddress): string {
  return `${address} ${port}`
}

/** @param where the port in words, for the message */
export function toPortError(err: NodeJS.ErrnoException, where: string): MeshError {
  if (err.code === 'EADDRINUSE')
    return new MeshError('MESH_PORT_IN_USE', `${where} is taken by another process`, { cause: err })
  if (err.code === 'EADDRNOTAVAIL')
    return new MeshError('MESH_ADDRESS_MISSING', `${where} cannot be opened: this machine does not have that address`, {
      cause: err,
    })
  if (err.code === 'EACCES') return new MeshError('MESH_PORT_FORBIDDEN', `${where} may not be opened`, { cause: err })
  return new MeshError('MESH_PORT_FORBIDDEN', `${where} cannot be opened: ${err.message}`, { cause: err })
}
