/** Where a captured connection was going (NetStream.local), and whose it is by that. */
import type { NetStream } from '../../core/os/network.ts'
import { memoize } from '../../core/memoize.ts'
import type { Listener } from '../../model/listener.ts'
import type { Tables } from '../../model/tables.ts'

/**
 * A client that came to the listener's own port is sent nowhere by it: taken for a destination it would be this process
 * again, and again.
 */
export function isRedirected(
  { address, port: asked }: Listener,
  open: number | undefined,
  { local }: NetStream,
): boolean {
  return (open ?? asked) !== local.port || (address !== local.host && !isAny(address))
}

/**
 * Behind a capturing listener (Envoy use_original_dst): the one that owns the original destination, by address or for
 * any address with that port.
 */
export function findOwner(bound: Listener, { local }: NetStream, { listeners }: Pick<Tables, 'listeners'>): Listener {
  if (!bound.useOriginalDst) return bound
  const samePort = byPort(listeners).get(local.port) ?? []
  return (
    samePort.find((l) => l !== bound && l.address === local.host) ??
    samePort.find((l) => l !== bound && isAny(l.address)) ??
    bound
  )
}

/** A mesh of 1,000 services is as many listeners: not to be walked through for each connection. */
const byPort = memoize((listeners: Tables['listeners']) => Map.groupBy(listeners.values(), (l) => l.port))

function isAny(address: string): boolean {
  return address === '0.0.0.0' || address === '::'
}
