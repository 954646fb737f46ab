/** AuthorizationPolicies of a workload → Envoy's RBAC filters (security/authz/builder, model/model.go). */
import type { Config } from '../config.ts'
import { isSelected } from '../config.ts'
import type { Rule } from '../kinds/authorization-policy.ts'
import { makeAny, compact, makeExtension, type Json } from '../json.ts'
import type { Proxy } from '../mesh/proxy.ts'
import {
  DESTINATION_PORT,
  findAttribute,
  HOST,
  METHOD,
  PATH,
  REMOTE_IP,
  REQUEST_PRINCIPAL,
  SOURCE_IP,
  SOURCE_NAMESPACE,
  SOURCE_PRINCIPAL,
  SOURCE_TRUST_DOMAIN,
  matchServiceAccount,
  type Attribute,
} from './conditions.ts'

type Policy = Config<'AuthorizationPolicy'>
type Action = 'LOG' | 'DENY' | 'ALLOW'
export type RbacFilters = { readonly http: readonly Json[]; readonly tcp: readonly Json[] }

export function makeRbac({ mesh, node, labels }: Proxy): RbacFilters {
  const root = mesh.options.rootNamespace
  const all = mesh.configs.AuthorizationPolicy.filter((p) => isSelected(p.spec.selector?.matchLabels, labels))
  const applied = [
    ...all.filter((p) => p.namespace === root),
    ...all.filter((p) => p.namespace === node.namespace && p.namespace !== root),
  ]
  const byAction = (action: string): Policy[] => applied.filter((p) => (p.spec.action ?? 'ALLOW') === action)
  const actions = [
    ['LOG', byAction('AUDIT')],
    ['DENY', byAction('DENY')],
    ['ALLOW', byAction('ALLOW')],
  ] as const
  const present = actions.filter(([, policies]) => policies.length > 0)
  const { trustDomain } = mesh.options
  return {
    http: present.map(([action, policies]) =>
      makeExtension(
        'envoy.filters.http.rbac',
        makeAny(
          'envoy.extensions.filters.http.rbac.v3.RBAC',
          makeRules(policies, { action, isTcp: false, trustDomain }),
        ),
      ),
    ),
    tcp: present.map(([action, policies]) =>
      makeExtension(
        'envoy.filters.network.rbac',
        makeAny('envoy.extensions.filters.network.rbac.v3.RBAC', {
          stat_prefix: 'tcp.',
          ...makeRules(policies, { action, isTcp: true, trustDomain }),
        }),
      ),
    ),
  }
}

type How = { readonly action: Action; readonly isTcp: boolean; readonly trustDomain: string }

function makeRules(policies: readonly Policy[], how: How): Json {
  const enforced = policies.filter((p) => !isDryRun(p))
  const shadow = policies.filter(isDryRun)
  const prefix = { ALLOW: 'istio_dry_run_allow_', DENY: 'istio_dry_run_deny_', LOG: undefined }[how.action]
  return compact({
    rules: enforced.length > 0 ? makeRbacRules(enforced, how) : undefined,
    shadow_rules: shadow.length > 0 ? makeRbacRules(shadow, how) : undefined,
    // An absent set of rules is one that allows (istiod asks it for its action all the same).
    shadow_rules_stat_prefix: shadow.length > 0 ? prefix : 'istio_dry_run_allow_',
  })
}

function isDryRun({ annotations }: Policy): boolean {
  return /^(?:1|t|T|TRUE|true|True)$/.test(annotations['istio.io/dry-run'] ?? '')
}

const NEVER: Json = { permissions: [{ not_rule: { any: true } }], principals: [{ not_id: { any: true } }] }

function makeRbacRules(policies: readonly Policy[], how: How): Json {
  const made: Record<string, Json> = {}
  for (const { namespace, name, spec } of policies) {
    const nameOf = (i: number): string => `ns[${namespace}]-policy[${name}]-rule[${i}]`
    const rules = spec.rules ?? []
    if (rules.length === 0) made[nameOf(0)] = NEVER
    for (const [i, rule] of rules.entries()) {
      const policy = makePolicy(rule, namespace, how)
      if (policy) made[nameOf(i)] = policy
    }
  }
  return { action: how.action, policies: made }
}

type Term = { readonly attribute: Attribute; readonly values: readonly string[]; readonly isNot: boolean }

/** Undefined: nothing of it can be asked of a connection, so an ALLOW policy allows nothing by it. */
function makePolicy(rule: Rule, namespace: string, how: How): Json | undefined {
  const when = (rule.when ?? []).flatMap(({ key, values, notValues }) =>
    terms(findAttribute(key, namespace), values, notValues),
  )
  const of = (side: Attribute['side']): Term[] => when.filter((t) => t.attribute.side === side)
  const permissions = (rule.to ?? [undefined]).map((to) =>
    makeSide('permission', [...(to ? listOperation(to.operation) : []), ...of('permission')], how),
  )
  const principals = (rule.from ?? [undefined]).map((from) =>
    makeSide('principal', [...(from ? listSource(from.source, namespace) : []), ...of('principal')], how),
  )
  const all = [...permissions, ...principals]
  if (all.includes(undefined)) return undefined
  return { permissions: permissions as Json[], principals: principals as Json[] }
}

function terms(attribute: Attribute, values: readonly string[] = [], notValues: readonly string[] = []): Term[] {
  return [
    ...(values.length > 0 ? [{ attribute, values, isNot: false }] : []),
    ...(notValues.length > 0 ? [{ attribute, values: notValues, isNot: true }] : []),
  ]
}

function listOperation(o: NonNullable<Rule['to']>[number]['operation']): Term[] {
  return [
    ...terms(HOST, o.hosts, o.notHosts),
    ...terms(METHOD, o.methods, o.notMethods),
    ...terms(PATH, o.paths, o.notPaths),
    ...terms(DESTINATION_PORT, o.ports, o.notPorts),
  ]
}

function listSource(s: NonNullable<Rule['from']>[number]['source'], namespace: string): Term[] {
  return [
    ...terms(SOURCE_PRINCIPAL, s.principals, s.notPrincipals),
    ...terms(REQUEST_PRINCIPAL, s.requestPrincipals, s.notRequestPrincipals),
    ...terms(matchServiceAccount(namespace), s.serviceAccounts, s.notServiceAccounts),
    ...terms(SOURCE_TRUST_DOMAIN, s.trustDomains, s.notTrustDomains),
    ...terms(SOURCE_NAMESPACE, s.namespaces, s.notNamespaces),
    ...terms(REMOTE_IP, s.remoteIpBlocks, s.notRemoteIpBlocks),
    ...terms(SOURCE_IP, s.ipBlocks, s.notIpBlocks),
  ]
}

const WORDS = {
  permission: { or: 'or_rules', and: 'and_rules', not: 'not_rule', list: 'rules' },
  principal: { or: 'or_ids', and: 'and_ids', not: 'not_id', list: 'ids' },
} as const

/** All terms, and of each any value. What cannot be asked is left out of a DENY, and ends an ALLOW. */
function makeSide(side: Attribute['side'], all: readonly Term[], how: How): Json | undefined {
  const words = WORDS[side]
  const set = (word: 'or' | 'and', list: readonly Json[]): Json => ({ [words[word]]: { [words.list]: [...list] } })
  const made: Json[] = []
  for (const { attribute, values, isNot } of all) {
    if (how.isTcp && attribute.isHttp === true) {
      if (how.action === 'ALLOW') return undefined
      continue
    }
    const own = attribute === SOURCE_PRINCIPAL ? values.map((v) => withTrustDomain(v, how.trustDomain)) : values
    const any = attribute.all ? attribute.all(own) : set('or', own.map(attribute.one!))
    made.push(isNot ? { [words.not]: any } : any)
  }
  return set('and', made.length > 0 ? made : [{ any: true }])
}

/** cluster.local stands for the mesh's own trust domain (security/trustdomain/bundle.go). */
function withTrustDomain(value: string, trustDomain: string): string {
  const parts = value.split('/')
  return parts.length === 5 && parts[0] === 'cluster.local' ? [trustDomain, ...parts.slice(1)].join('/') : value
}
