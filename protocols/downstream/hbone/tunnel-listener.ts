/**
 * The listener for what comes through a tunnel to a port that this node serves directly, too: the tunnel is the mutual
 * TLS that its chains ask for. istiod sends such a listener of its own where ambient is on (main_internal); this one is
 * made where it does not.
 */
import { memoize } from '../../../core/memoize.ts'
import type { FilterChain, FilterChainMatch, Listener } from '../../../model/listener.ts'
import { usesIdentity } from '../../certificate-expiry.ts'

/** The same object for the same listener, so that a configuration change can tell what has changed. */
export const deriveTunnelListener = memoize((from: Listener): Listener => {
  const mutual = new Set(from.filterChains.filter(isMutual).map((chain) => placeOf(chain.match)))
  const filterChains = from.filterChains.flatMap((chain) =>
    isMutual(chain) ? [withoutTls(chain)] : mutual.has(placeOf(chain.match)) ? [] : [chain],
  )
  const { defaultFilterChain: last, sniff, ...rest } = from
  return {
    ...rest,
    filterChains,
    defaultFilterChain: last && (isMutual(last) ? withoutTls(last) : last),
    sniff: {
      ...sniff,
      tls: filterChains.some((c) => c.match.transportProtocol === 'tls'),
      http: true,
      httpOff: {
        kind: 'or',
        of: [...findOpaquePorts(filterChains)].map((port) => ({ kind: 'destination-port', from: port, to: port })),
      },
    },
  }
})

/** Where nothing depends on it, nobody looks: a server that speaks first would wait for a client that waits for it. */
function findOpaquePorts(chains: readonly FilterChain[]): ReadonlySet<number> {
  const byPort = Map.groupBy(chains, ({ match }) => match.destinationPort)
  return new Set(
    [...byPort].flatMap(([port, of]) =>
      port === undefined || of.some(({ match }) => match.applicationProtocols.length > 0) ? [] : [port],
    ),
  )
}

/** Of the mesh: the peer of a tunnel has proved as much. Other roots, lists and pins were not asked about it. */
function isMutual({ tls }: FilterChain): boolean {
  if (!tls || !usesIdentity(tls) || !tls.requireClientCertificate) return false
  const { roots, crl, pins } = tls.validation ?? {}
  return roots?.from === 'workload' && !crl && !pins
}

/** Chains in clear stand beside those with TLS where PeerAuthentication is PERMISSIVE. */
function placeOf({ destinationPort, destinationRanges, sourceRanges, sourcePorts }: FilterChainMatch): string {
  return JSON.stringify([destinationPort, destinationRanges, sourceRanges, sourcePorts])
}

function withoutTls(chain: FilterChain): FilterChain {
  const { match, tls } = chain
  const sans = tls?.validation?.sans ?? []
  const applicationProtocols = [...new Set(match.applicationProtocols.flatMap((name) => INSIDE[name] ?? []))]
  return {
    ...chain,
    tls: undefined,
    ...(sans.length > 0 && { tunnelSans: sans }),
    match: { ...match, transportProtocol: undefined, serverNames: [], applicationProtocols },
  }
}
/** What ALPN says of what is spoken inside, as the inspector of plain text has it. */
const INSIDE: Readonly<Record<string, readonly string[]>> = {
  'istio-http/1.0': ['http/1.0'],
  'istio-http/1.1': ['http/1.1'],
  'istio-h2': ['h2c'],
  'http/1.0': ['http/1.0'],
  'http/1.1': ['http/1.1'],
  h2: ['h2c'],
}
