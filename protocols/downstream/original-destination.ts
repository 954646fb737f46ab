/** Where a captured connection was going (NetStream.local), and whose it is by that. */
import type { NetStream } from '../../core/os/network.ts'
import { memoize } from '../../core/memoize.ts'
import type { Listener, ListenerAddress } from '../../model/listener.ts'
import type { Tables } from '../../model/tables.ts'

/**
 * A client that came to the listener's own port is sent nowhere by it: taken for a destination it would be this process
 * again, and again.
 */
export function isRedirected({ address, port }: ListenerAddress, { local }: NetStream): boolean {
  return port !== local.port || (address !== local.host && !isAny(address))
}

/**
 * Behind a capturing listener (Envoy use_original_dst): the one that owns the original destination, by address or for
 * any address with that port.
 */
export function findOwner(bound: Listener, { local }: NetStream, { listeners }: Pick<Tables, 'listeners'>): Listener {
  if (!bound.useOriginalDst) return bound
  const samePort = byPort(listeners).get(local.port) ?? []
  const found =
    samePort.find((one) => one.listener !== bound && one.address === local.host) ??
    samePort.find((one) => one.listener !== bound && isAny(one.address))
  return found?.listener ?? bound
}

/** A mesh of 1,000 services is as many listeners: not to be walked through for each connection. */
const byPort = memoize((listeners: Tables['listeners']) =>
  Map.groupBy([...listeners.values()].flatMap(listAddresses), ({ port }) => port),
)
type Owned = { readonly listener: Listener; readonly address: string; readonly port: number }
function listAddresses(listener: Listener): Owned[] {
  const { address, port, additional = [] } = listener
  return [{ listener, address, port }, ...additional.map((at) => ({ listener, address: at.address, port: at.port }))]
}

function isAny(address: string): boolean {
  return address === '0.0.0.0' || address === '::'
}
