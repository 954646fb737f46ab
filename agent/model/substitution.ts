/** Envoy's substitution format, for the operators that Istio puts into header values (envoy "access log operators"). Pure. */

export type SubstitutionFacts = {
  readonly remote: { readonly host: string; readonly port: number }
  readonly local: { readonly host: string; readonly port: number }
  /** HTTP/1.0, HTTP/1.1 or HTTP/2. */
  readonly protocol: string
  /** Wall milliseconds. */
  readonly startedMs: number
  readonly serverName: string
  /** Request header, lower-case name, pseudo names included. */
  readonly request: (name: string) => string | undefined
  /** Response header; only when a response is edited. */
  readonly response?: (name: string) => string | undefined
}

/** `unknown`: operators that meshlet does not implement, e.g. "%UPSTREAM_METADATA(a)%"; they stay in the text as they are. */
export type Substitution = { readonly parts: readonly (string | Operator)[]; readonly unknown: readonly string[] }
type Operator = (facts: SubstitutionFacts) => string | undefined

const TOKEN = /%%|%([A-Z_]+)(?:\(([^)%]*)\))?(?::(\d+))?%/g

/** Never throws; a lone `%` stands for itself. */
export function parseSubstitution(text: string): Substitution {
  const parts: (string | Operator)[] = []
  const unknown: string[] = []
  let literal = ''
  let at = 0
  for (const token of text.matchAll(TOKEN)) {
    literal += text.slice(at, token.index)
    at = token.index + token[0].length
    const operator = token[0] === '%%' ? '%' : operatorOf(token[1]!, token[2], token[3])
    if (typeof operator === 'function') { if (literal) parts.push(literal); parts.push(operator); literal = '' }
    else literal += operator ?? token[0]
    if (operator === undefined) unknown.push(token[0])
  }
  literal += text.slice(at)
  if (literal) parts.push(literal)
  return { parts, unknown }
}

/** What is absent becomes empty, as Envoy does for header values. */
export function substitute(made: Substitution, facts: SubstitutionFacts): string {
  let out = ''
  for (const part of made.parts) out += typeof part === 'string' ? part : part(facts) ?? ''
  return out
}

function operatorOf(name: string, argument: string | undefined, maxChars: string | undefined): Operator | undefined {
  const whole = wholeOperator(name, argument)
  if (!whole || maxChars === undefined) return whole
  return (facts) => whole(facts)?.slice(0, Number(maxChars))
}

function wholeOperator(name: string, argument: string | undefined): Operator | undefined {
  if (name === 'REQ' && argument) { const find = firstOf(argument); return (facts) => find(facts.request) }
  if (name === 'RESP' && argument) { const find = firstOf(argument); return (facts) => facts.response && find(facts.response) }
  if (argument !== undefined) return undefined
  switch (name) {
    case 'DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT': return (f) => f.remote.host
    case 'DOWNSTREAM_REMOTE_ADDRESS': return (f) => `${f.remote.host}:${f.remote.port}`
    case 'DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT': return (f) => f.local.host
    case 'DOWNSTREAM_LOCAL_ADDRESS': return (f) => `${f.local.host}:${f.local.port}`
    case 'DOWNSTREAM_LOCAL_PORT': return (f) => String(f.local.port)
    case 'PROTOCOL': return (f) => f.protocol
    case 'REQUESTED_SERVER_NAME': return (f) => f.serverName
    case 'START_TIME': return (f) => new Date(f.startedMs).toISOString()
    default: return undefined
  }
}

/** `X?Y`: header X, or Y where X is absent. */
function firstOf(argument: string): (header: (name: string) => string | undefined) => string | undefined {
  const [first = '', second] = argument.toLowerCase().split('?')
  return (header) => header(first) ?? (second === undefined ? undefined : header(second))
}
