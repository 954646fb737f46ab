/** What a request is counted by: a descriptor for each rule whose actions all have something to say. Pure. */
import { findMetadata, isStruct, type Json } from '../../../../model/http/metadata.ts'
import type {
  Descriptor,
  DescriptorEntry,
  LocalRateLimit,
  RateLimitAction,
  RateLimitRule,
} from '../../../../model/http/rate-limit.ts'
import { parseIpBytes } from '../../../../core/ip-source.ts'
import type { Tables } from '../../../../model/tables.ts'
import { asText, matchesHeader, matchesString, type QueryMatch } from '../../../../model/matcher.ts'
import {
  collectHeaderValues,
  findFirstHeader,
  findHeaderOrPseudo,
  type RequestFacts,
  type Routed,
} from '../../../router.ts'

export type DescriptorFacts = {
  readonly request: RequestFacts
  readonly remoteIp: string
  /** What this node is called, as Envoy's --service-cluster; left out: ''. */
  readonly ownCluster?: string | undefined
  readonly routed: Routed | undefined
}
/** `unsupported`: what keeps a descriptor from being made, so that nobody knows whether the request is too much. */
export type Descriptors = readonly Descriptor[] | { readonly unsupported: string }

export function describeRequest(settings: LocalRateLimit, facts: DescriptorFacts): Descriptors {
  return settings.descriptors.length === 0 ? NONE : collectDescriptors(settings, facts, 'node')
}
const NONE: Descriptors = []

type Wanted = Pick<LocalRateLimit, 'rules' | 'hostRules' | 'stage'>
/** @param by who counts */
export function collectDescriptors(wanted: Wanted, facts: DescriptorFacts, by: 'node' | 'service'): Descriptors {
  const made: Descriptor[] = []
  for (const rule of collectRules(wanted, facts.routed)) {
    if (by === 'node' && rule.hasRuntimeKey) continue
    const one = describeBy(rule, facts)
    if (one === undefined) continue
    if ('unsupported' in one) return one
    made.push({ ...describeCount(rule), ...(by === 'service' && findLimit(rule, facts)), entries: one })
  }
  return made
}

function collectRules(wanted: Wanted, routed: Routed | undefined): readonly RateLimitRule[] {
  if (wanted.rules.length > 0) return wanted.rules
  // Envoy: what does not forward has no rules.
  if (routed?.route.action.kind !== 'forward') return []
  const { rules = [], includesHost = false } = routed.route.action.rateLimits ?? {}
  const ofHost = routed.virtualHost.rateLimits ?? []
  const how = includesHost ? 'include' : wanted.hostRules
  const all = how === 'include' ? [...rules, ...ofHost] : how === 'override' && rules.length === 0 ? ofHost : rules
  return all.filter(({ stage }) => stage === wanted.stage)
}

type Entries = DescriptorEntry[] | { readonly unsupported: string } | undefined
function describeBy(rule: RateLimitRule, facts: DescriptorFacts): Entries {
  const entries: DescriptorEntry[] = []
  for (const action of rule.actions) {
    if (action.kind === 'unsupported') return { unsupported: action.what }
    const entry = actOn(action, facts)
    if (entry === undefined) return undefined
    if (entry !== 'skipped') entries.push(entry)
  }
  return entries
}

function describeCount({ hits, givesBack, tellsRest }: RateLimitRule): Omit<Descriptor, 'entries'> {
  return {
    ...(hits !== undefined && { hits }),
    ...(givesBack && { givesBack }),
    ...(tellsRest !== undefined && { tellsRest }),
  }
}

/** What is written there and is no limit, Envoy takes for none. */
function findLimit({ limit }: RateLimitRule, { request }: DescriptorFacts): Pick<Descriptor, 'limit'> {
  const found = limit && findMetadata(limit, request.metadata)
  if (!isStruct(found)) return {}
  const { requests_per_unit: perUnit, unit: name } = found
  const unit = typeof name === 'string' ? UNITS.indexOf(name) : -1
  return typeof perUnit === 'number' && unit >= 0 ? { limit: { perUnit: toUnsigned(perUnit), unit } } : {}
}
/** envoy.type.v3.RateLimitUnit. */
const UNITS: readonly string[] = ['UNKNOWN', 'SECOND', 'MINUTE', 'HOUR', 'DAY', 'MONTH', 'YEAR']
const toUnsigned = (value: number): number => Math.min(0xffff_ffff, Math.max(0, Math.floor(value)))

/** @returns undefined: there is no descriptor */
function actOn(
  action: Exclude<RateLimitAction, { kind: 'unsupported' }>,
  { request, remoteIp, routed, ownCluster = '' }: DescriptorFacts,
): DescriptorEntry | 'skipped' | undefined {
  switch (action.kind) {
    case 'constant':
      return [action.key, action.value]
    case 'remote-address':
      return ['remote_address', remoteIp]
    case 'masked-remote-address':
      return ['masked_remote_address', maskAddress(remoteIp, action.v4Bits, action.v6Bits)]
    case 'source-cluster':
      return ['source_cluster', ownCluster]
    case 'destination-cluster': {
      const cluster = findCluster(request, routed)
      return cluster === undefined ? undefined : ['destination_cluster', cluster]
    }
    case 'header': {
      const first = action.name.startsWith(':')
        ? findHeaderOrPseudo(request, action.name)
        : findFirstHeader(request, action.name)
      return first === undefined ? lacking(action) : [action.key, asText(first)]
    }
    case 'query': {
      const found = findQuery(request.path, action.name)
      return found === undefined ? lacking(action) : [action.key, found]
    }
    case 'metadata': {
      const value = textOf(findMetadata(action.from, request.metadata)) || action.byDefault
      return value === '' ? lacking(action) : [action.key, value]
    }
    case 'match': {
      const holds =
        action.headers.every((match) => matchesHeader(match, collectHeaderValues(request, match.name))) &&
        action.query.every((match) => matchesQuery(match, request.path))
      return holds === action.expect ? [action.key, action.value] : undefined
    }
    default:
      return action satisfies never
  }
}
const textOf = (found: Json): string => (typeof found === 'string' ? found : '')
const lacking = ({ mayLack }: { readonly mayLack: boolean }): 'skipped' | undefined => (mayLack ? 'skipped' : undefined)

/** Whether a request goes to a cluster that is there, as far as that is known: of weighted ones it is not. */
export function hasDestination(
  request: RequestFacts,
  routed: Routed | undefined,
  tables: Pick<Tables, 'cluster'>,
): boolean {
  if (routed?.route.action.kind !== 'forward') return false
  const { clusters, clusterHeader } = routed.route.action
  if (clusterHeader === undefined && clusters.length !== 1) return true
  const cluster = findCluster(request, routed)
  return cluster !== undefined && tables.cluster(cluster) !== undefined
}

/** Of weighted clusters none is known yet. */
function findCluster(request: RequestFacts, routed: Routed | undefined): string | undefined {
  if (routed?.route.action.kind !== 'forward') return undefined
  const { clusters, clusterHeader } = routed.route.action
  if (clusterHeader !== undefined) return findFirstHeader(request, clusterHeader)
  return clusters.length === 1 ? clusters[0]!.name : undefined
}

/** `10.1.0.0/16`, as Envoy writes it. */
function maskAddress(ip: string, v4Bits: number, v6Bits: number): string {
  const bytes = parseIpBytes(ip)
  if (!bytes) return ip
  const bits = bytes.length === 4 ? v4Bits : v6Bits
  const masked = [...bytes].map((byte, i) => {
    const kept = Math.min(8, Math.max(0, bits - i * 8))
    return byte & (0xff << (8 - kept)) & 0xff
  })
  return `${formatAddress(masked)}/${bits}`
}

/** IPv6 as RFC 5952 wants it, which is how a URL writes it. */
function formatAddress(bytes: readonly number[]): string {
  if (bytes.length === 4) return bytes.join('.')
  const groups = bytes.flatMap((byte, i) => (i % 2 === 0 ? ((byte << 8) | bytes[i + 1]!).toString(16) : []))
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1)
}

/** Of the first parameter of that name; unlike routes, Envoy's rate limits see it decoded. */
function findQuery(path: string, name: string): string | undefined {
  const start = path.indexOf('?')
  if (start < 0) return undefined
  for (const pair of path.slice(start + 1).split('&')) {
    const equals = pair.indexOf('=')
    if (decodeQuery(equals < 0 ? pair : pair.slice(0, equals)) === name)
      return equals < 0 ? '' : decodeQuery(pair.slice(equals + 1))
  }
  return undefined
}
function decodeQuery(raw: string): string {
  return asText(raw.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))))
}

function matchesQuery({ name, test }: QueryMatch, path: string): boolean {
  const value = findQuery(path, name)
  if (test.kind !== 'string') return (test.kind === 'present') === (value !== undefined)
  return value !== undefined && matchesString(test.match, value)
}
