/**
 * Which filter chain serves a connection: Envoy's matching order (config.listener.v3.FilterChainMatch). At each step
 * the most specific entry is taken and the rest forgotten: when the chains behind it do not match further on, the
 * answer is the default chain and not a less specific entry.
 */
import { matchesPort, type FilterChain, type FilterChainMatch, type Listener } from '../../model/listener.ts'
import { containsAddress, type Cidr } from '../../model/ip.ts'
import type { Interest } from './sniff.ts'

export type ChainFacts = {
  /** With transparent capture those of the original destination. */
  readonly destinationIp: string
  readonly destinationPort: number
  readonly sourceIp: string
  readonly sourcePort: number
  readonly transport: 'tls' | 'raw_buffer'
  /** Lower case; '' = none. */
  readonly serverName: string
  readonly alpn: readonly string[]
}

/** @returns undefined when nothing matches and there is no default chain (MESH_NO_FILTER_CHAIN). */
export function choose(listener: Listener, facts: ChainFacts): FilterChain | undefined {
  return treeOf(listener).ports(facts) ?? listener.defaultFilterChain
}

/**
 * What sniffing can change for this listener. Chains that match on TLS facts need the TLS inspector even where none is
 * configured (Envoy adds it by itself). Where an inspector is switched off for the port, the connection is one of plain
 * bytes, whatever it carries.
 * @param port of the original destination
 */
export function collectInterest(listener: Listener, port: number): Interest {
  const { interest: all } = treeOf(listener)
  const { tlsOff, httpOff } = listener.sniff
  const [noTls, noHttp] = [
    tlsOff !== undefined && matchesPort(tlsOff, port),
    httpOff !== undefined && matchesPort(httpOff, port),
  ]
  return noTls || noHttp ? { ...all, tls: all.tls && !noTls, http: all.http && !noHttp } : all
}

type Find = (facts: ChainFacts) => FilterChain | undefined
type Tree = { readonly ports: Find; readonly interest: Interest }

/** Listeners are immutable and live as long as their tables. */
const trees = new WeakMap<Listener, Tree>()
function treeOf(listener: Listener): Tree {
  const known = trees.get(listener)
  if (known) return known
  const made: Tree = { ports: byPort(listener.filterChains), interest: interest(listener) }
  trees.set(listener, made)
  return made
}

function interest({ sniff, filterChains }: Listener): Interest {
  const matches = filterChains.map((c) => c.match)
  const plain = matches.filter((m) => m.transportProtocol !== 'tls').flatMap((m) => m.applicationProtocols)
  return {
    tls: sniff.tls || matches.some((m) => m.transportProtocol === 'tls' || m.serverNames.length > 0),
    http: sniff.http && plain.some((p) => p.startsWith('http/') || p === 'h2c'),
    mqtt: plain.includes('mqtt'),
  }
}

/**
 * One level of the tree per function, in Envoy's order. Each takes the chains that are left and gives the search below
 * them.
 */

function byPort(chains: readonly FilterChain[]): Find {
  const levels = grouped(chains, (m) => (m.destinationPort === undefined ? [] : [m.destinationPort]), byDestination)
  return (f) => (levels.some.get(f.destinationPort) ?? levels.any)?.(f)
}

function byDestination(chains: readonly FilterChain[]): Find {
  const find = byRange(chains, (m) => m.destinationRanges, byServerName)
  return (f) => find(f.destinationIp)?.(f)
}

/** Exact name, then the longest wildcard: for a.b.c `*.b.c`, then `*.c`. */
function byServerName(chains: readonly FilterChain[]): Find {
  const levels = grouped(
    chains,
    (m) => m.serverNames.filter((n) => n !== '*').map((n) => (n.startsWith('*.') ? n.slice(1) : n)),
    byTransport,
  )
  return (f) => {
    if (levels.some.size === 0 || f.serverName === '') return levels.any?.(f)
    const exact = levels.some.get(f.serverName)
    if (exact) return exact(f)
    for (
      let dot = f.serverName.indexOf('.', 1);
      dot > 0 && dot < f.serverName.length - 1;
      dot = f.serverName.indexOf('.', dot + 1)
    ) {
      const wildcard = levels.some.get(f.serverName.slice(dot))
      if (wildcard) return wildcard(f)
    }
    return levels.any?.(f)
  }
}

function byTransport(chains: readonly FilterChain[]): Find {
  const levels = grouped(
    chains,
    (m) => (m.transportProtocol === undefined ? [] : [m.transportProtocol]),
    byApplicationProtocol,
  )
  return (f) => (levels.some.get(f.transport) ?? levels.any)?.(f)
}

/** The first of the client's protocols, in the client's order, that any chain names. */
function byApplicationProtocol(chains: readonly FilterChain[]): Find {
  const levels = grouped(chains, (m) => m.applicationProtocols, byDirectSource)
  return (f) => {
    for (const protocol of f.alpn) {
      const named = levels.some.get(protocol)
      if (named) return named(f)
    }
    return levels.any?.(f)
  }
}

function byDirectSource(chains: readonly FilterChain[]): Find {
  const find = byRange(chains, (m) => m.directSourceRanges ?? NO_RANGES, bySourceType)
  return (f) => find(f.sourceIp)?.(f)
}
const NO_RANGES: readonly Cidr[] = []

function bySourceType(chains: readonly FilterChain[]): Find {
  const levels = grouped(chains, (m) => (m.sourceType === undefined ? [] : [m.sourceType]), bySource)
  if (levels.some.size === 0) return (f) => levels.any?.(f)
  return (f) => (levels.some.get(isLocal(f) ? 'local' : 'external') ?? levels.any)?.(f)
}

/** Envoy's SAME_IP_OR_LOOPBACK. */
function isLocal({ sourceIp, destinationIp }: ChainFacts): boolean {
  return sourceIp === destinationIp || sourceIp === '::1' || /^(?:::ffff:)?127\./.test(sourceIp)
}

function bySource(chains: readonly FilterChain[]): Find {
  const find = byRange(chains, (m) => m.sourceRanges, bySourcePort)
  return (f) => find(f.sourceIp)?.(f)
}

function bySourcePort(chains: readonly FilterChain[]): Find {
  const levels = grouped(
    chains,
    (m) => m.sourcePorts,
    (equal): Find => {
      // Chains that are equal up to here are a conflict that Envoy refuses. The first one serves, unless one among them
      // is blocked: what would tell it apart from the others may be just what was not understood.
      const serving = equal.find((c) => c.codec.kind === 'blocked') ?? equal[0]
      return () => serving
    },
  )
  return (f) => (levels.some.get(f.sourcePort) ?? levels.any)?.(f)
}

type Below = (chains: readonly FilterChain[]) => Find

/** Chains by each of their values; those without a value are `any`. */
function grouped<V>(
  chains: readonly FilterChain[],
  valuesOf: (m: FilterChainMatch) => readonly V[],
  below: Below,
): { some: ReadonlyMap<V, Find>; any: Find | undefined } {
  const groups = new Map<V, FilterChain[]>()
  const rest: FilterChain[] = []
  for (const chain of chains) {
    const values = valuesOf(chain.match)
    if (values.length === 0) rest.push(chain)
    for (const value of values) {
      const group = groups.get(value)
      if (group) group.push(chain)
      else groups.set(value, [chain])
    }
  }
  return {
    some: new Map([...groups].map(([value, group]) => [value, below(group)])),
    any: rest.length === 0 ? undefined : below(rest),
  }
}

/** The longest prefix that holds the address; chains without ranges hold every address. */
function byRange(
  chains: readonly FilterChain[],
  rangesOf: (m: FilterChainMatch) => readonly Cidr[],
  below: Below,
): (ip: string) => Find | undefined {
  const ranges = new Map<string, Cidr>(chains.flatMap((c) => rangesOf(c.match).map((r) => [networkOf(r), r])))
  const { some, any } = grouped(chains, (m) => rangesOf(m).map(networkOf), below)
  const longestFirst = [...ranges].sort(([, a], [, b]) => b.prefixBits - a.prefixBits)
  if (longestFirst.length === 0) return () => any
  return (ip) => {
    const found = longestFirst.find(([, range]) => containsAddress(range, ip))
    return found ? some.get(found[0]) : any
  }
}

/** 10.0.0.1/8 and 10.0.0.0/8 are one network. */
function networkOf({ bytes, prefixBits }: Cidr): string {
  const masked = bytes.map((b, i) => b & (0xff00 >> Math.min(8, Math.max(0, prefixBits - i * 8))) & 0xff)
  return `${masked.join('.')}/${prefixBits}`
}
