/**
 * envoy.config.rbac.v3.RBAC → Policy. A condition that is not implemented becomes `unsupported`, whose truth is unknown
 * to protocols/authz.ts; a condition that is malformed is an issue. Nothing that restricts may get lost here, unknown
 * fields included.
 */
import {
  isAboutMqtt,
  type MqttCondition,
  type Permission,
  type Policy,
  type PolicyRule,
  type Principal,
} from '../../model/policy.ts'
import {
  RBAC_Action,
  type Permission as XPermission,
  type Policy as XPolicy,
  type Principal as XPrincipal,
  type RBAC,
} from '../../proto/gen/envoy/config/rbac/v3/rbac_pb.ts'
import type { MetadataMatcher } from '../../proto/gen/envoy/type/matcher/v3/metadata_pb.ts'
import type { PathMatcher } from '../../proto/gen/envoy/type/matcher/v3/path_pb.ts'
import type { StringMatcher } from '../../proto/gen/envoy/type/matcher/v3/string_pb.ts'
import type { ValueMatcher } from '../../proto/gen/envoy/type/matcher/v3/value_pb.ts'
import { JWT_METADATA } from '../../model/http/jwt.ts'
import type { StringMatch } from '../../model/matcher.ts'
import type { MetadataMatch } from '../../model/http/metadata.ts'
import { isTopicFilter } from '../../model/mqtt/route.ts'
import { hasUnknown, type DecodePath } from './fields/decode-path.ts'
import { decodeHeaderMatch, decodeStringMatch } from './fields/matchers.ts'
import { decodeMetadataMatch } from './fields/metadata.ts'
import { decodeUriTemplate } from './fields/uri-template.ts'
import { decodeRange } from './fields/values.ts'

/** Deeper nesting is not evaluated: the decision runs per request and recurses. Istio uses four levels. */
const MAX_DEPTH = 32

type Unsupported = { readonly kind: 'unsupported'; readonly what: string }

/** RBAC filter (network or HTTP): both have these fields. */
type RbacFilter = {
  readonly rules?: RBAC | undefined
  readonly shadowRules?: RBAC | undefined
  readonly shadowRulesStatPrefix?: string
  readonly $unknown?: unknown[] | undefined
}

/**
 * @returns undefined when the filter enforces nothing and watches nothing; a policy that refuses everything where
 * meshlet does not know the rules' form.
 */
export function decodePolicy(at: DecodePath, filter: RbacFilter, { isMqtt } = { isMqtt: false }): Policy | undefined {
  const policy = decodeRules(at, filter)
  if (policy && !isMqtt && isAboutMqtt(policy))
    at.ignore('conditions about MQTT where no MQTT is spoken; a policy that depends on them refuses')
  return policy
}
function decodeRules(at: DecodePath, filter: RbacFilter): Policy | undefined {
  if (filter.$unknown?.length) {
    at.ignore('rules in a form that meshlet does not implement: everything is refused')
    return { action: 'allow', rules: [], shadow: undefined }
  }
  const enforced = filter.rules && ruleSet(at.in('rules'), filter.rules)
  const shadow = filter.shadowRules && {
    ...ruleSet(at.in('shadow_rules'), filter.shadowRules),
    ...(filter.shadowRulesStatPrefix && { prefix: filter.shadowRulesStatPrefix }),
  }
  if (enforced) return { ...enforced, shadow }
  // Envoy: a filter without rules lets everything pass.
  return shadow ? { action: 'log', rules: [], shadow } : undefined
}

function ruleSet(
  at: DecodePath,
  rbac: RBAC,
): { readonly action: Policy['action']; readonly rules: readonly PolicyRule[] } {
  const names = Object.keys(rbac.policies).toSorted()
  const rules = names.map((name) => rule(at.in('policies').item(name), name, rbac.policies[name]!))
  const action = actionOf(rbac.action)
  // An action or a rule set that is not understood refuses everything.
  if (action === undefined) {
    at.in('action').issue(`unknown value ${rbac.action}`)
    return { action: 'allow', rules: [] }
  }
  return { action, rules }
}

function actionOf(action: RBAC['action']): Policy['action'] | undefined {
  switch (action) {
    case RBAC_Action.ALLOW:
      return 'allow'
    case RBAC_Action.DENY:
      return 'deny'
    case RBAC_Action.LOG:
      return 'log'
    default:
      return undefined
  }
}

function rule(at: DecodePath, name: string, policy: XPolicy): PolicyRule {
  const permissions = policy.permissions.map((p, i) => permission(at.in('permissions').item(i), p, 0))
  const principals = policy.principals.map((p, i) => principal(at.in('principals').item(i), p, 0))
  if (!hasUnknown(policy)) return { name, permissions, principals }
  // A further condition (CEL): true or not, it is joined with `and`.
  return {
    name,
    permissions: [{ kind: 'and', of: [{ kind: 'or', of: permissions }, unsupported(at, 'condition')] }],
    principals,
  }
}

function permission(at: DecodePath, { rule: by, $unknown: unknown }: XPermission, depth: number): Permission {
  if (depth > MAX_DEPTH) return unsupported(at, 'nesting')
  const all = (field: string, rules: readonly XPermission[]): Permission[] =>
    rules.map((p, i) => permission(at.in(field).in('rules').item(i), p, depth + 1))
  if (unknown?.length) return unsupported(at, `field ${(unknown[0] as { no: number }).no}`)
  switch (by.case) {
    case 'andRules':
      return { kind: 'and', of: all('and_rules', by.value.rules) }
    case 'orRules':
      return { kind: 'or', of: all('or_rules', by.value.rules) }
    case 'notRule':
      return { kind: 'not', of: permission(at.in('not_rule'), by.value, depth + 1) }
    case 'any':
      return by.value ? { kind: 'any' } : unsupported(at, 'any: false')
    case 'header':
      return orRefused(decodeHeaderMatch(at.in('header'), by.value), (header) => ({ kind: 'header', header }))
    case 'urlPath':
      return orRefused(pathMatch(at.in('url_path'), by.value), (match) => ({ kind: 'path', match }))
    case 'requestedServerName':
      return orRefused(decodeStringMatch(at.in('requested_server_name'), by.value), (match) => ({
        kind: 'server-name',
        match,
      }))
    case 'destinationIp':
      return orRefused(decodeRange(at.in('destination_ip'), by.value), (r) => ({ kind: 'destination-ip', range: r }))
    case 'destinationPort':
      return { kind: 'destination-port', from: by.value, to: by.value }
    // Int32Range excludes its end.
    case 'destinationPortRange':
      return { kind: 'destination-port', from: by.value.start, to: by.value.end - 1 }
    case 'metadata':
      return mqttCondition(at.in('metadata'), by.value) ?? ofTokens(at.in('metadata'), by.value)
    case 'uriTemplate': {
      const regex = decodeUriTemplate(at.in('uri_template'), by.value)
      if (regex === 'other') return unsupported(at, by.case)
      return orRefused(regex, (made) => ({ kind: 'path', match: { kind: 'regex', regex: made } }))
    }
    case 'matcher':
      return unsupported(at, by.case)
    case undefined:
      return unsupported(at, 'an unknown rule')
    default:
      return by satisfies never
  }
}

/**
 * Istio's `experimental.envoy.filters.network.meshlet.mqtt_proxy[topic]` of an AuthorizationPolicy is dynamic metadata
 * of a filter of this name. @returns undefined for metadata of others
 */
const MQTT_METADATA = 'envoy.filters.network.meshlet.mqtt_proxy'
function mqttCondition(at: DecodePath, from: MetadataMatcher): Permission | undefined {
  const [segment, ...deeper] = from.path
  const key = segment?.segment.case === 'key' && !hasUnknown(segment) ? segment.segment.value : undefined
  if (from.filter !== MQTT_METADATA || deeper.length > 0 || hasUnknown(from)) return undefined
  if (key !== 'topic' && key !== 'action') return undefined
  const made = mqttValue(at.in('value'), key, from.value)
  return made && (from.invert ? { kind: 'not', of: made } : made)
}
/** What the token of the request says (model/http/jwt.ts); what other filters write is not known here. */
function ofTokens(
  at: DecodePath,
  from: MetadataMatcher,
): { readonly kind: 'metadata'; readonly metadata: MetadataMatch } | Unsupported {
  const metadata = from.filter === JWT_METADATA ? decodeMetadataMatch(at, from) : undefined
  return metadata ? { kind: 'metadata', metadata } : unsupported(at, 'metadata')
}

/** A list is written `[value]` in Istio; of what there is one of, both mean the same. */
function mqttValue(at: DecodePath, key: MqttCondition['key'], value: ValueMatcher | undefined): Permission | undefined {
  const by = value?.matchPattern
  if (!value || hasUnknown(value)) return undefined
  switch (by?.case) {
    case 'nullMatch':
    case 'doubleMatch':
    case 'boolMatch':
    case 'presentMatch':
    case undefined:
      return undefined
    case 'stringMatch':
      return orRefused(topicMatch(at.in('string_match'), key, by.value), (match) => ({ kind: 'mqtt', key, match }))
    case 'listMatch':
      return hasUnknown(by.value) || by.value.matchPattern.case !== 'oneOf'
        ? undefined
        : mqttValue(at.in('list_match').in('one_of'), key, by.value.matchPattern.value)
    case 'orMatch': {
      const all = by.value.valueMatchers.map((one, i) => mqttValue(at.in('or_match').item(i), key, one))
      return all.some((one) => one === undefined) || hasUnknown(by.value)
        ? undefined
        : { kind: 'or', of: all as Permission[] }
    }
    default:
      return by satisfies never
  }
}

/** A text that is no filter would never match, so that a deny by it would deny nothing. */
function topicMatch(at: DecodePath, key: MqttCondition['key'], from: StringMatcher): StringMatch | undefined {
  const match = decodeStringMatch(at, from)
  if (key !== 'topic' || match?.kind !== 'exact' || isTopicFilter(match.value)) return match
  at.issue('is not a topic filter: `+` and `#` stand alone between slashes, and `#` only at the end (MQTT 5.0 §4.7.1)')
  return undefined
}

function principal(at: DecodePath, { identifier: by, $unknown: unknown }: XPrincipal, depth: number): Principal {
  if (depth > MAX_DEPTH) return unsupported(at, 'nesting')
  const all = (field: string, ids: readonly XPrincipal[]): Principal[] =>
    ids.map((p, i) => principal(at.in(field).in('ids').item(i), p, depth + 1))
  if (unknown?.length) return unsupported(at, `field ${(unknown[0] as { no: number }).no}`)
  switch (by.case) {
    case 'andIds':
      return { kind: 'and', of: all('and_ids', by.value.ids) }
    case 'orIds':
      return { kind: 'or', of: all('or_ids', by.value.ids) }
    case 'notId':
      return { kind: 'not', of: principal(at.in('not_id'), by.value, depth + 1) }
    case 'any':
      return by.value ? { kind: 'any' } : unsupported(at, 'any: false')
    case 'authenticated': {
      if (hasUnknown(by.value)) return unsupported(at, 'authenticated')
      const name = by.value.principalName
      if (!name) return { kind: 'authenticated', name: undefined }
      return orRefused(decodeStringMatch(at.in('authenticated').in('principal_name'), name), (match) => ({
        kind: 'authenticated',
        name: match,
      }))
    }
    case 'sourceIp':
      return orRefused(decodeRange(at.in('source_ip'), by.value), (r) => ({ kind: 'direct-remote-ip', range: r }))
    case 'directRemoteIp':
      return orRefused(decodeRange(at.in('direct_remote_ip'), by.value), (r) => ({
        kind: 'direct-remote-ip',
        range: r,
      }))
    case 'remoteIp':
      return orRefused(decodeRange(at.in('remote_ip'), by.value), (r) => ({ kind: 'remote-ip', range: r }))
    case 'header':
      return orRefused(decodeHeaderMatch(at.in('header'), by.value), (header) => ({ kind: 'header', header }))
    case 'urlPath':
      return orRefused(pathMatch(at.in('url_path'), by.value), (match) => ({ kind: 'path', match }))
    case 'metadata':
      return ofTokens(at.in('metadata'), by.value)
    case 'filterState': {
      const { key, matcher } = by.value
      if (key !== PEER_PRINCIPAL || matcher.case !== 'stringMatch' || hasUnknown(by.value))
        return unsupported(at, 'filterState')
      return orRefused(decodeStringMatch(at.in('filter_state').in('string_match'), matcher.value), (name) => ({
        kind: 'peer-principal',
        name,
      }))
    }
    case undefined:
      return unsupported(at, 'an unknown identifier')
    default:
      return by satisfies never
  }
}

/** Of a tunnel, what connect_terminate says of who opened it (listener/hbone.ts). */
export const PEER_PRINCIPAL = 'io.istio.peer_principal'

function pathMatch(at: DecodePath, matcher: PathMatcher): StringMatch | undefined {
  return decodeStringMatch(at.in('path'), matcher.rule.value)
}

/**
 * A malformed condition has already been reported as an issue, so the resource will not be used; its type still has to
 * be right.
 */
function orRefused<T, C>(value: T | undefined, make: (value: T) => C): C | Unsupported {
  return value === undefined ? { kind: 'unsupported', what: 'malformed' } : make(value)
}

function unsupported(at: DecodePath, what: string): Unsupported {
  at.ignore(`${what} is not implemented; a policy that depends on it refuses`)
  return { kind: 'unsupported', what }
}
