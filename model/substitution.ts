/** Envoy's substitution format, for the operators of header values (envoy "access log operators"). Pure. */
import { compileTimeText } from './time-text.ts'
import type { PeerIdentity } from './identity.ts'
import type { HeaderEdit } from './route.ts'

export type SubstitutionFacts = {
  /** The client as trusted hops tell it, else the TCP peer. */
  readonly client: { readonly host: string; readonly port: number }
  /** The TCP peer. */
  readonly remote: { readonly host: string; readonly port: number }
  readonly local: { readonly host: string; readonly port: number }
  /** HTTP/1.0, HTTP/1.1 or HTTP/2. */
  readonly protocol: string
  /** Wall milliseconds. */
  readonly startedMs: number
  readonly serverName: string
  /** '' = none. */
  readonly routeName: string
  /** '' = none. */
  readonly cluster: string
  /** 0 = there is none yet. */
  readonly status: number
  /** Identity that the client has proved. */
  readonly peer: PeerIdentity | undefined
  /** Request header, lower-case name, pseudo names included. */
  readonly request: (name: string) => string | undefined
  /** Response header; only when a response is edited. */
  readonly response?: (name: string) => string | undefined
}

/**
 * `unknown`: operators that meshlet does not implement, e.g. "%UPSTREAM_METADATA(a)%"; they stay in the text as they
 * are.
 */
export type Substitution = { readonly parts: readonly (string | Operator)[]; readonly unknown: readonly string[] }
type Operator = (facts: SubstitutionFacts) => string | undefined

const TOKEN = /%%|%([A-Z_][A-Z_0-9]*)(?:\(([^)]*)\))?(?::(\d+))?%/g

/** Never throws; a lone `%` stands for itself. */
export function parseSubstitution(text: string): Substitution {
  const parts: (string | Operator)[] = []
  const unknown: string[] = []
  let literal = ''
  let at = 0
  for (const token of text.matchAll(TOKEN)) {
    literal += plain(text.slice(at, token.index), unknown)
    at = token.index + token[0].length
    const operator = token[0] === '%%' ? '%' : operatorOf(token[1]!, token[2], token[3])
    if (typeof operator === 'function') {
      if (literal) parts.push(literal)
      parts.push(operator)
      literal = ''
    } else literal += operator ?? token[0]
    if (operator === undefined) unknown.push(token[0])
  }
  literal += plain(text.slice(at), unknown)
  if (literal) parts.push(literal)
  return { parts, unknown }
}

/** A `%` that starts no operator: Envoy refuses it, here it stays and is told. */
function plain(text: string, unknown: string[]): string {
  if (text.includes('%')) unknown.push(text.slice(text.indexOf('%')))
  return text
}

/** Of operators that a request has no value for before all filters have been asked. */
export function hasLateOperators({ add }: Pick<HeaderEdit, 'add'>): boolean {
  return add.some(({ value }) => [...value.matchAll(TOKEN)].some(([, name]) => name !== undefined && LATE.has(name)))
}
const LATE: ReadonlySet<string> = new Set(['START_TIME', 'UPSTREAM_CLUSTER'])

/** An absent value becomes empty, as in Envoy's header values. */
export function substitute(made: Substitution, facts: SubstitutionFacts): string {
  let out = ''
  for (const part of made.parts) out += typeof part === 'string' ? part : (part(facts) ?? '')
  return out
}

function operatorOf(name: string, argument: string | undefined, maxChars: string | undefined): Operator | undefined {
  const whole = wholeOperator(name, argument)
  if (!whole || maxChars === undefined) return whole
  return (facts) => whole(facts)?.slice(0, Number(maxChars))
}

function wholeOperator(name: string, argument: string | undefined): Operator | undefined {
  if ((name === 'REQ' || name === 'REQUEST_HEADER') && argument) {
    const find = firstOf(argument)
    return (facts) => find(facts.request)
  }
  if ((name === 'RESP' || name === 'RESPONSE_HEADER') && argument) {
    const find = firstOf(argument)
    return (facts) => facts.response && find(facts.response)
  }
  if (name === 'START_TIME' && argument) {
    const text = compileTimeText(argument)
    return text && ((f) => text(f.startedMs))
  }
  if (argument !== undefined) return undefined
  switch (name) {
    case 'DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT':
      return (f) => f.client.host
    case 'DOWNSTREAM_REMOTE_ADDRESS':
      return (f) => hostPort(f.client)
    case 'DOWNSTREAM_REMOTE_PORT':
      return (f) => String(f.client.port)
    case 'DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT':
      return (f) => f.remote.host
    case 'DOWNSTREAM_DIRECT_REMOTE_ADDRESS':
      return (f) => hostPort(f.remote)
    case 'DOWNSTREAM_PEER_URI_SAN':
      return (f) => f.peer?.uriSans.join(',')
    case 'DOWNSTREAM_PEER_DNS_SAN':
      return (f) => f.peer?.dnsSans.join(',')
    case 'DOWNSTREAM_PEER_SUBJECT':
      return (f) => f.peer?.subject
    case 'DOWNSTREAM_PEER_FINGERPRINT_256':
      return (f) => f.peer?.sha256
    case 'ROUTE_NAME':
      return (f) => f.routeName
    case 'UPSTREAM_CLUSTER':
      return (f) => f.cluster
    case 'RESPONSE_CODE':
      return (f) => String(f.status)
    case 'DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT':
      return (f) => f.local.host
    case 'DOWNSTREAM_LOCAL_ADDRESS':
      return (f) => hostPort(f.local)
    case 'DOWNSTREAM_LOCAL_PORT':
      return (f) => String(f.local.port)
    case 'PROTOCOL':
      return (f) => f.protocol
    case 'REQUESTED_SERVER_NAME':
      return (f) => f.serverName
    case 'START_TIME':
      return (f) => new Date(f.startedMs).toISOString()
    default:
      return undefined
  }
}

function hostPort({ host, port }: { readonly host: string; readonly port: number }): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** `X?Y`: header X, or Y where X is absent. */
function firstOf(argument: string): (header: (name: string) => string | undefined) => string | undefined {
  const [first = '', second] = argument.toLowerCase().split('?')
  return (header) => header(first) ?? (second === undefined ? undefined : header(second))
}
