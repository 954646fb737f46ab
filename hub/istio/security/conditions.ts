/**
 * Attributes of an AuthorizationPolicy → parts of Envoy's RBAC: permissions (what is asked for) and principals (who
 * asks) (security/authz/model/generator.go).
 */
import type { Json } from '../json.ts'
import {
  ANY_TEXT,
  matchClaim,
  matchClaims,
  matchHeader,
  matchMetadata,
  matchSome,
  matchRange,
  matchText,
  quote,
} from './matchers.ts'

/** `values` one by one, or together where they are one matcher. `isHttp`: cannot be asked of a TCP connection. */
export type Attribute = {
  readonly side: 'permission' | 'principal'
  readonly isHttp?: boolean
  readonly one?: (value: string) => Json
  readonly all?: (values: readonly string[]) => Json
}

const authenticated = (name: Json): Json => ({ authenticated: { principal_name: name } })
const permission = (one: (value: string) => Json): Attribute => ({ side: 'permission', one })
const principal = (one: (value: string) => Json): Attribute => ({ side: 'principal', one })

export const DESTINATION_IP = permission((v) => ({ destination_ip: matchRange(v) }))
export const DESTINATION_PORT = permission((v) => ({ destination_port: Number(v) }))
export const SNI = permission((v) => ({ requested_server_name: matchText(v) }))
export const HOST: Attribute = {
  ...permission((v) => ({ header: matchHeader(':authority', v, 'any case') })),
  isHttp: true,
}
export const METHOD: Attribute = { ...permission((v) => ({ header: matchHeader(':method', v) })), isHttp: true }
export const PATH: Attribute = { ...permission(matchPath), isHttp: true }

export const SOURCE_IP = principal((v) => ({ direct_remote_ip: matchRange(v) }))
export const REMOTE_IP = principal((v) => ({ remote_ip: matchRange(v) }))
export const SOURCE_PRINCIPAL = principal((v) => authenticated(matchText(v, 'spiffe://')))
export const SOURCE_NAMESPACE = principal((v) =>
  authenticated({ safe_regex: { regex: `.*/ns/${v.split('*').map(quote).join('.*')}/.*` } }),
)
export const SOURCE_TRUST_DOMAIN = principal((v) => authenticated(matchTrustDomain(v)))
/** @param namespace of the policy: a bare name is one of it */
export function matchServiceAccount(namespace: string): Attribute {
  return principal((v) => {
    const [of, name] = v.includes('/') ? [v.slice(0, v.indexOf('/')), v.slice(v.indexOf('/') + 1)] : [namespace, v]
    return authenticated({ safe_regex: { regex: `spiffe://.+/ns/${quote(of)}/(.+/|)sa/${quote(name)}(/.+)?` } })
  })
}

const token = (all: (values: readonly string[]) => Json): Attribute => ({ side: 'principal', isHttp: true, all })
export const REQUEST_PRINCIPAL = token(matchRequestPrincipals)
const REQUEST_AUDIENCES = token((values) => ({ metadata: matchClaims(['aud'], values) }))
const REQUEST_PRESENTER = token((values) => ({ metadata: matchClaims(['azp'], values) }))

/** Of `when[].key`. @param namespace of the policy */
export function findAttribute(key: string, namespace: string): Attribute {
  const known: Readonly<Record<string, Attribute>> = {
    'source.ip': SOURCE_IP,
    'remote.ip': REMOTE_IP,
    'source.namespace': SOURCE_NAMESPACE,
    'source.serviceAccount': matchServiceAccount(namespace),
    'source.trustDomain': SOURCE_TRUST_DOMAIN,
    'source.principal': SOURCE_PRINCIPAL,
    'request.auth.principal': REQUEST_PRINCIPAL,
    'request.auth.audiences': REQUEST_AUDIENCES,
    'request.auth.presenter': REQUEST_PRESENTER,
    'destination.ip': DESTINATION_IP,
    'destination.port': DESTINATION_PORT,
    'connection.sni': SNI,
  }
  const attribute = known[key]
  if (attribute) return attribute
  const names = [...key.matchAll(/\[([^\]]+)\]/g)].map((m) => m[1]!)
  if (key.startsWith('request.headers'))
    return { ...principal((v) => ({ header: matchHeader(names[0]!, v) })), isHttp: true }
  if (key.startsWith('request.auth.claims')) return token((values) => ({ metadata: matchClaims(names, values) }))
  const filter = key.slice('experimental.'.length, key.indexOf('['))
  return { side: 'permission', all: (values) => ({ metadata: matchFilterMetadata(filter, names[0]!, values) }) }
}

/** `[value]` is one of a list. */
function matchFilterMetadata(filter: string, key: string, values: readonly string[]): Json {
  const matchers = values.map((v) =>
    v.startsWith('[') && v.endsWith(']')
      ? { list_match: { one_of: { string_match: matchText(v.replace(/^[[\]]+|[[\]]+$/g, '')) } } }
      : { string_match: matchText(v) },
  )
  return matchMetadata(filter, [key], matchSome(matchers))
}

const TEMPLATE = 'type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig'
function matchPath(value: string): Json {
  if (!/\{\*\*?\}/.test(value)) return { url_path: { path: matchText(value) } }
  const template = value.replaceAll('{*}', '*').replaceAll('{**}', '**')
  return { uri_template: { name: 'uri-template', typed_config: { '@type': TEMPLATE, path_template: template } } }
}

function matchTrustDomain(value: string): Json {
  if (value === '*') return { prefix: 'spiffe://' }
  if (!value.includes('*')) return { prefix: `spiffe://${value}/` }
  const [before = '', ...after] = value.split('*')
  return { safe_regex: { regex: `spiffe://${quote(before)}[^/]*${quote(after.join('*'))}/.*` } }
}

/** ISSUER/SUBJECT, with a wildcard at one end; the issuer may be a URL. */
function matchRequestPrincipals(values: readonly string[]): Json {
  const all = values.map((value) => {
    const [issuer, subject] = readRequestPrincipal(value)
    return { and_ids: { ids: [{ metadata: matchClaim('iss', issuer) }, { metadata: matchClaim('sub', subject) }] } }
  })
  return all.length === 1 ? all[0]! : { or_ids: { ids: all } }
}

function readRequestPrincipal(value: string): readonly [Json, Json] {
  const slash = value.lastIndexOf('/')
  const [issuer, subject] = slash < 0 ? [value, ''] : [value.slice(0, slash), value.slice(slash + 1)]
  if (value === '*') return [ANY_TEXT, ANY_TEXT]
  if (value.startsWith('*')) {
    if (slash < 0) return [ANY_TEXT, { suffix: value.slice(1) }]
    return [issuer === '*' ? ANY_TEXT : { suffix: issuer.slice(1) }, { exact: subject }]
  }
  if (value.endsWith('*')) {
    if (slash < 0) return [{ prefix: value.slice(0, -1) }, ANY_TEXT]
    return [{ exact: issuer }, subject === '*' ? ANY_TEXT : { prefix: subject.slice(0, -1) }]
  }
  return [{ exact: issuer }, { exact: subject }]
}
