/** Which addresses and ports are this node's, as far as tunnels lead there. */
import type { Address } from '../../../core/os/network.ts'
import type { Listener } from '../../../model/listener.ts'
import type { Tables } from '../../../model/tables.ts'
import { hasAddress, overlap, type AddressAndPort } from '../ports.ts'
import type { OwnPorts } from './tunnel-host.ts'

/** A port that agent.yaml names: nobody else gets it, even while it cannot be opened. */
export type OwnPort = AddressAndPort & { readonly name: string }

export function createOwnPorts(
  wanted: () => ReadonlyMap<string, Listener>,
  { reserved, addresses }: { readonly reserved: readonly OwnPort[]; readonly addresses: () => readonly string[] },
): OwnPorts {
  const at = ({ host: address, port }: Address): AddressAndPort => ({ address, port })
  return {
    addresses,
    isReserved: (to) =>
      reserved.some((one) => overlap(one, at(to))) ||
      [...wanted().values()].some((l) => (isCapturing(l) || takesTunnels(l)) && hasAddress(l, at(to))),
    findInbound: (to) => {
      const all = [...wanted().values()].filter((l) => l.direction !== 'outbound' && !takesTunnels(l))
      return (
        all.find((l) => !isCapturing(l) && hasAddress(l, at(to))) ??
        all.find((l) => isCapturing(l) && l.direction === 'inbound')
      )
    },
  }
}

/** istiod's virtualInbound and virtualOutbound. */
function isCapturing({ useOriginalDst, hasOriginalDst }: Listener): boolean {
  return useOriginalDst || hasOriginalDst === true
}
function takesTunnels({ filterChains, defaultFilterChain }: Listener): boolean {
  return [...filterChains, ...(defaultFilterChain ? [defaultFilterChain] : [])].some((c) => c.codec.kind === 'hbone')
}

export function findInternalListener(tables: Tables, cluster: string): Listener | undefined {
  const discovery = tables.cluster(cluster)?.discovery
  const listener = discovery?.kind === 'internal' ? tables.listeners.get(discovery.listener) : undefined
  return listener?.internal ? listener : undefined
}
