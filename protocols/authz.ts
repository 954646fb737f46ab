/**
 * Authorization as a pure function: policies and facts in, a decision out (envoy.config.rbac.v3,
 * envoy.filters.{http,network}.rbac).
 *
 * Conditions have three truth values (Kleene). What meshlet cannot evaluate is *unknown*, also below not, and, or; an
 * unknown deny refuses and an unknown allow does not allow, so nothing gets through by way of a condition that was not
 * understood. Unknown are: unsupported conditions, conditions about headers and tokens where there are none (L4), path conditions
 * where there is no path (L4, CONNECT) and empty sets (Envoy refuses those at configuration time).
 *
 * What a policy says of the packets of an MQTT client is undecided before the first: a connection may come in by an
 * allow that may hold for some packet, and is refused by a deny only that holds for every one.
 */
import { containsAddress } from '../model/ip.ts'
import type { PeerIdentity } from '../model/identity.ts'
import { matchesHeader, matchesString, type HeaderValues, type StringMatch } from '../model/matcher.ts'
import { matchesMetadata, type Metadata, type MetadataMatch } from '../model/http/metadata.ts'
import {
  EXT_AUTHZ_PREFIX,
  type MqttCondition,
  type Permission,
  type Policy,
  type PolicyRule,
  type Principal,
  type ShadowRules,
} from '../model/policy.ts'
import type { Connection } from './connection.ts'

export type AuthzFacts = {
  /** Identity proved in the TLS handshake; undefined without a client certificate. */
  readonly peer: PeerIdentity | undefined
  /** The TCP peer. */
  readonly directRemoteIp: string
  /** The client as a trusted x-forwarded-for tells it; else the TCP peer. */
  readonly remoteIp: string
  readonly destinationIp: string
  readonly destinationPort: number
  /** SNI of the hello; '' without one. */
  readonly serverName: string
  /**
   * Undefined at L4. Lower-case name, pseudo names included (`:method`, `:authority`, `:path`, `:scheme`); each line by
   * itself.
   */
  readonly header: ((name: string) => HeaderValues) | undefined
  /**
   * Normalised, without query and fragment: exactly the path that routing sees (http/filters/path-normalize.ts).
   * Undefined at L4 and for CONNECT.
   */
  readonly path: string | undefined
  /** What filters before this one have found out; undefined at L4. */
  readonly metadata?: Metadata | undefined
  /**
   * What a packet of an MQTT client does; `undecided`: none has come yet; a number: what conditions about it count as.
   * Undefined where something else is spoken.
   */
  readonly mqtt?: 'undecided' | Truth | ((condition: MqttCondition) => Truth) | undefined
}

/** `rule` is the name of the rule that refused, or NO_RULE when an allow policy had none that matched. */
export type Decision = { readonly allowed: true } | { readonly allowed: false; readonly rule: string }
/** `isDryRun` false: an AUDIT policy that matches. */
export type ShadowDecision = {
  readonly action: Policy['action']
  readonly wouldAllow: boolean
  readonly rule: string
  readonly isDryRun: boolean
}

/** Envoy's word for the same (rbac_access_denied_matched_policy[none]). */
export const NO_RULE = 'none'
const ALLOWED: Decision = { allowed: true }

/**
 * Every policy must agree, in order: deny refuses when a rule matches, allow when none does (an allow without rules
 * refuses all), log never.
 */
export function decide(policies: readonly Policy[], facts: AuthzFacts): Decision {
  for (const policy of policies) {
    const refusal = refusedBy(policy.action, policy.rules, facts)
    if (refusal !== undefined) return { allowed: false, rule: refusal }
  }
  return ALLOWED
}

/**
 * What the dry-run rules (Envoy's shadow_rules) would have decided, one entry per policy that has some, and the AUDIT
 * policies that match. For counters and logs only.
 */
export function shadowDecisions(policies: readonly Policy[], facts: AuthzFacts): readonly ShadowDecision[] {
  return policies.flatMap((policy) => collectTold(policy, policy.shadow && decideShadow(policy.shadow, facts), facts))
}

/** The same of one policy. @param dryRun what its dry-run rules have found */
export function collectTold(
  policy: Policy,
  dryRun: ShadowDecision | undefined,
  facts: AuthzFacts,
): readonly ShadowDecision[] {
  const found: ShadowDecision[] = []
  const audited = policy.action === 'log' ? matching(policy.rules, facts, TRUE) : undefined
  if (audited !== undefined) found.push({ action: 'log', wouldAllow: true, rule: audited, isDryRun: false })
  if (dryRun && policy.shadow?.prefix !== EXT_AUTHZ_PREFIX) found.push(dryRun)
  return found
}

/** What the filter writes into the metadata (Envoy's rbac), for filters behind it. */
export function describeShadow(
  prefix: string,
  { wouldAllow, rule }: ShadowDecision,
): { readonly [key: string]: string } {
  return {
    ...(rule !== NO_RULE && { [`${prefix}shadow_effective_policy_id`]: rule }),
    [`${prefix}shadow_engine_result`]: wouldAllow ? 'allowed' : 'denied',
  }
}

/** What the rules would have decided, and by which of them. */
export function decideShadow({ action, rules }: ShadowRules, facts: AuthzFacts): ShadowDecision {
  const refusal = refusedBy(action, rules, facts)
  return {
    action,
    wouldAllow: refusal === undefined,
    rule: refusal ?? matching(rules, facts, TRUE) ?? NO_RULE,
    isDryRun: true,
  }
}

function refusedBy(action: Policy['action'], rules: readonly PolicyRule[], facts: AuthzFacts): string | undefined {
  switch (action) {
    case 'deny':
      return matching(rules, decided(facts, FALSE), UNKNOWN)
    case 'allow':
      return matching(rules, decided(facts, TRUE), TRUE) === undefined ? NO_RULE : undefined
    case 'log':
      return undefined
    default:
      return action satisfies never
  }
}

/** Name of the first rule that is at least as true as `atLeast`. */
function matching(rules: readonly PolicyRule[], facts: AuthzFacts, atLeast: Truth): string | undefined {
  for (const rule of rules) if (ruleTruth(rule, facts) >= atLeast) return rule.name
  return undefined
}

/** As numbers, Kleene's and is the minimum, or the maximum, and not 2 − x. */
export type Truth = 0 | 1 | 2
export const FALSE = 0
export const UNKNOWN = 1
export const TRUE = 2
const truth = (holds: boolean): Truth => (holds ? TRUE : FALSE)
const negated = (of: Truth): Truth => (2 - of) as Truth

function ruleTruth(rule: PolicyRule, facts: AuthzFacts): Truth {
  const permitted = anyOf(rule.permissions, permissionTruth, facts)
  if (permitted === FALSE) return FALSE
  return Math.min(permitted, anyOf(rule.principals, principalTruth, facts)) as Truth
}

/** What no packet has decided yet counts as this, and below a `not` as its opposite. */
function decided(facts: AuthzFacts, as: Truth): AuthzFacts {
  return facts.mqtt === 'undecided' ? { ...facts, mqtt: as } : facts
}
function opposite(facts: AuthzFacts): AuthzFacts {
  return typeof facts.mqtt === 'number' ? { ...facts, mqtt: negated(facts.mqtt) } : facts
}
function mqttTruth(condition: MqttCondition, { mqtt }: AuthzFacts): Truth {
  if (typeof mqtt === 'function') return mqtt(condition)
  return typeof mqtt === 'number' ? mqtt : UNKNOWN
}

function permissionTruth(p: Permission, facts: AuthzFacts): Truth {
  switch (p.kind) {
    case 'any':
      return TRUE
    case 'and':
      return allOf(p.of, permissionTruth, facts)
    case 'or':
      return anyOf(p.of, permissionTruth, facts)
    case 'not':
      return negated(permissionTruth(p.of, opposite(facts)))
    case 'unsupported':
      return UNKNOWN
    case 'mqtt':
      return mqttTruth(p, facts)
    case 'header':
      return facts.header ? truth(matchesHeader(p.header, facts.header(p.header.name))) : UNKNOWN
    case 'path':
      return pathTruth(p.match, facts)
    case 'destination-ip':
      return truth(containsAddress(p.range, facts.destinationIp))
    case 'destination-port':
      return truth(facts.destinationPort >= p.from && facts.destinationPort <= p.to)
    case 'metadata':
      return metadataTruth(p.metadata, facts)
    case 'server-name':
      return truth(matchesString(p.match, facts.serverName))
    default:
      return p satisfies never
  }
}

function principalTruth(p: Principal, facts: AuthzFacts): Truth {
  switch (p.kind) {
    case 'any':
      return TRUE
    case 'and':
      return allOf(p.of, principalTruth, facts)
    case 'or':
      return anyOf(p.of, principalTruth, facts)
    case 'not':
      return negated(principalTruth(p.of, facts))
    case 'unsupported':
      return UNKNOWN
    case 'authenticated':
      return truth(facts.peer !== undefined && (p.name === undefined || isNamed(facts.peer, p.name)))
    case 'peer-principal':
      // As Envoy writes several of them.
      return truth(facts.peer !== undefined && matchesString(p.name, facts.peer.uriSans.join(',')))
    case 'direct-remote-ip':
      return truth(containsAddress(p.range, facts.directRemoteIp))
    case 'remote-ip':
      return truth(containsAddress(p.range, facts.remoteIp))
    case 'header':
      return facts.header ? truth(matchesHeader(p.header, facts.header(p.header.name))) : UNKNOWN
    case 'metadata':
      return metadataTruth(p.metadata, facts)
    case 'path':
      return pathTruth(p.match, facts)
    default:
      return p satisfies never
  }
}

function metadataTruth(match: MetadataMatch, { metadata }: AuthzFacts): Truth {
  return metadata === undefined ? UNKNOWN : truth(matchesMetadata(match, metadata))
}

function pathTruth(match: StringMatch, facts: AuthzFacts): Truth {
  return facts.path === undefined ? UNKNOWN : truth(matchesString(match, facts.path))
}

/**
 * In Envoy's order: any URI SAN, then any DNS SAN, then the subject; the later ones are asked also where earlier ones
 * exist.
 */
function isNamed(peer: PeerIdentity, name: StringMatch): boolean {
  return (
    peer.uriSans.some((uri) => matchesString(name, uri)) ||
    peer.dnsSans.some((dns) => matchesString(name, dns)) ||
    matchesString(name, peer.subject)
  )
}

function allOf<T>(of: readonly T[], truthOf: (one: T, facts: AuthzFacts) => Truth, facts: AuthzFacts): Truth {
  let least: Truth = of.length === 0 ? UNKNOWN : TRUE
  for (const one of of) {
    const t = truthOf(one, facts)
    if (t === FALSE) return FALSE
    if (t < least) least = t
  }
  return least
}

function anyOf<T>(of: readonly T[], truthOf: (one: T, facts: AuthzFacts) => Truth, facts: AuthzFacts): Truth {
  let most: Truth = of.length === 0 ? UNKNOWN : FALSE
  for (const one of of) {
    const t = truthOf(one, facts)
    if (t === TRUE) return TRUE
    if (t > most) most = t
  }
  return most
}

/** Of a connection, before anything has come over it. */
export function collectFacts({ tls, remote, local, offered, chain, metadata }: Connection): AuthzFacts {
  return {
    peer: tls?.peer,
    directRemoteIp: remote.host,
    remoteIp: remote.host,
    destinationIp: local.host,
    destinationPort: local.port,
    serverName: tls?.serverName ?? offered.serverName,
    header: undefined,
    path: undefined,
    metadata,
    mqtt: chain.codec.kind === 'mqtt' ? 'undecided' : undefined,
  }
}
