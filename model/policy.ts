import type { Cidr } from './ip.ts'
import type { HeaderMatch, StringMatch } from './matcher.ts'
import type { MetadataMatch } from './http/metadata.ts'

/**
 * One RBAC filter (envoy.config.rbac.v3.RBAC), at L4 (network filter) or L7 (HTTP filter). Evaluated by
 * protocols/authz.ts.
 */
export type Policy = {
  /** allow: something must match. deny: nothing may match. log: never refuses. */
  readonly action: 'allow' | 'deny' | 'log'
  readonly rules: readonly PolicyRule[]
  /** Istio's dry run: evaluated and counted, never enforced. */
  readonly shadow: ShadowRules | undefined
}

/** `prefix`: before the names of what they found in the metadata (shadow_rules_stat_prefix). */
export type ShadowRules = {
  readonly action: 'allow' | 'deny' | 'log'
  readonly rules: readonly PolicyRule[]
  readonly prefix?: string
}
/** istiod's: the rules say whether ext_authz is asked (CUSTOM), and nobody tries anything out. */
export const EXT_AUTHZ_PREFIX = 'istio_ext_authz_'

/**
 * Any permission and any principal must match. Istio names rules "ns[NS]-policy[NAME]-rule[i]"; refusals quote that
 * name.
 */
export type PolicyRule = {
  readonly name: string
  readonly permissions: readonly Permission[]
  readonly principals: readonly Principal[]
}

/**
 * `unsupported`: a condition that meshlet does not implement. Its truth is unknown, and the evaluation refuses whenever
 * that matters.
 */
type Unsupported = { readonly kind: 'unsupported'; readonly what: string }

/** What one packet of an MQTT client does: `action` is `publish` or `subscribe`, and of what is delivered `subscribe`. */
export type MqttCondition = {
  readonly kind: 'mqtt'
  readonly key: 'topic' | 'action'
  readonly match: StringMatch
}

export type Permission =
  | MqttCondition
  | { readonly kind: 'any' }
  | { readonly kind: 'and' | 'or'; readonly of: readonly Permission[] }
  | { readonly kind: 'not'; readonly of: Permission }
  | Unsupported
  | { readonly kind: 'header'; readonly header: HeaderMatch }
  | { readonly kind: 'path'; readonly match: StringMatch }
  | { readonly kind: 'destination-ip'; readonly range: Cidr }
  /** `to` is inclusive. */
  | { readonly kind: 'destination-port'; readonly from: number; readonly to: number }
  | { readonly kind: 'server-name'; readonly match: StringMatch }
  | { readonly kind: 'metadata'; readonly metadata: MetadataMatch }

export type Principal =
  | { readonly kind: 'any' }
  | { readonly kind: 'and' | 'or'; readonly of: readonly Principal[] }
  | { readonly kind: 'not'; readonly of: Principal }
  | Unsupported
  /** `name` undefined: any peer that proved an identity. */
  | { readonly kind: 'authenticated'; readonly name: StringMatch | undefined }
  /** The URI of the peer's certificate; of a tunnel it is that of who opened it (filter_state io.istio.peer_principal). */
  | { readonly kind: 'peer-principal'; readonly name: StringMatch }
  /** The TCP peer's address (direct_remote_ip, source_ip). */
  | { readonly kind: 'direct-remote-ip'; readonly range: Cidr }
  /** The client's address as x-forwarded-for tells it, where that is trusted; else the TCP peer's. */
  | { readonly kind: 'remote-ip'; readonly range: Cidr }
  | { readonly kind: 'header'; readonly header: HeaderMatch }
  | { readonly kind: 'metadata'; readonly metadata: MetadataMatch }
  | { readonly kind: 'path'; readonly match: StringMatch }

/** Whether it has to be asked about each packet of an MQTT client. */
export function isAboutMqtt({ rules, shadow }: Policy): boolean {
  return [...rules, ...(shadow?.rules ?? [])].some(({ permissions }) => permissions.some(hasMqtt))
}
function hasMqtt(p: Permission): boolean {
  if (p.kind === 'and' || p.kind === 'or') return p.of.some(hasMqtt)
  return p.kind === 'not' ? hasMqtt(p.of) : p.kind === 'mqtt'
}
