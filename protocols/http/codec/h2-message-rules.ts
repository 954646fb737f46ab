/**
 * What makes a field list of HTTP/2 a message, or malformed (RFC 9113 §8.1 to §8.3, §8.5, RFC 8441 §4). What single
 * fields must look like is the decoder's business. Each function returns the problem, or undefined. @param fields names
 * at even indexes, values at odd ones
 */

const COLON = 58
const REQUEST_PSEUDO: readonly string[] = [':method', ':scheme', ':authority', ':path', ':protocol']
/** RFC 9113 §8.2.2. */
const CONNECTION_FIELDS: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
])

export function findRequestProblem(fields: readonly string[], extendedConnect: boolean): string | undefined {
  let seen = 0
  let method = ''
  let path = ''
  let at = 0
  for (; at < fields.length && fields[at]!.charCodeAt(0) === COLON; at += 2) {
    const which = REQUEST_PSEUDO.indexOf(fields[at]!)
    if (which < 0) return `no pseudo-header field of a request: ${fields[at]!.slice(0, 64)}`
    if ((seen & (1 << which)) !== 0) return `${fields[at]!} twice`
    seen |= 1 << which
    if (which === 0) method = fields[at + 1]!
    else if (which === 1 && !isScheme(fields[at + 1]!)) return ':scheme is none'
    else if (which === 3) path = fields[at + 1]!
  }
  return pseudoProblem(seen, method, path, extendedConnect) ?? hostProblem(fields, at) ?? fieldsProblem(fields, at)
}

/** RFC 3986 §3.1. */
function isScheme(scheme: string): boolean {
  return scheme === 'https' || scheme === 'http' || /^[A-Za-z][A-Za-z0-9+\-.]*$/.test(scheme)
}

/**
 * As over HTTP/1.1 (RFC 9112 §3.2), and as nghttp2 does: who takes the first, and who the last, would not agree on the
 * host.
 */
function hostProblem(fields: readonly string[], from: number): string | undefined {
  let hosts = 0
  for (let i = from; i < fields.length; i += 2) if (fields[i] === 'host' && ++hosts > 1) return 'several host fields'
  return undefined
}

/** The first of that name. */
export function findField(fields: readonly string[], name: string): string | undefined {
  for (let i = 0; i < fields.length; i += 2) if (fields[i] === name) return fields[i + 1]
  return undefined
}

/** '' = none. */
export function readMethod(fields: readonly string[]): string {
  for (let i = 0; i < fields.length && fields[i]!.charCodeAt(0) === COLON; i += 2)
    if (fields[i] === ':method') return fields[i + 1]!
  return ''
}

const METHOD = 1
const SCHEME = 2
const AUTHORITY = 4
const PATH = 8
const PROTOCOL = 16

/** @param seen one bit for each of REQUEST_PSEUDO */
function pseudoProblem(seen: number, method: string, path: string, extendedConnect: boolean): string | undefined {
  if ((seen & METHOD) === 0 || method === '') return ':method is missing'
  if ((seen & PROTOCOL) !== 0 && (!extendedConnect || method !== 'CONNECT')) return ':protocol, which was not permitted'
  if (method === 'CONNECT' && (seen & PROTOCOL) === 0) {
    // RFC 9113 §8.5.
    return (seen & (SCHEME | PATH)) !== 0 || (seen & AUTHORITY) === 0
      ? 'CONNECT has an authority, and neither scheme nor path'
      : undefined
  }
  if ((seen & SCHEME) === 0) return ':scheme is missing'
  return (seen & PATH) === 0 || path === '' ? ':path is missing' : undefined
}

/** @param declared as declaredLength has it */
export function findLengthProblem(declared: number): string | undefined {
  return Number.isNaN(declared) ? 'content-length is no number, or several' : undefined
}
/** Of a message that is only a head. @param declared as declaredLength has it */
export function findEmptyBodyProblem(declared: number): string | undefined {
  return declared > 0 ? 'content-length, and no body' : findLengthProblem(declared)
}

export function findResponseProblem(fields: readonly string[]): string | undefined {
  if (fields[0] !== ':status' || !/^[1-9]\d\d$/.test(fields[1]!)) return ':status is missing or is no status'
  return fieldsProblem(fields, 2)
}

export function findTrailersProblem(fields: readonly string[]): string | undefined {
  return fieldsProblem(fields, 0)
}

/** @param from where pseudo-header fields end: none comes later */
function fieldsProblem(fields: readonly string[], from: number): string | undefined {
  for (let i = from; i < fields.length; i += 2) {
    const name = fields[i]!
    if (name.charCodeAt(0) === COLON) return `a pseudo-header field in the wrong place: ${name.slice(0, 64)}`
    if (CONNECTION_FIELDS.has(name)) return `a field of one HTTP/1.1 connection: ${name}`
    // It is for requests; in answers `trailers` does no harm (nghttp2 lets it pass, too).
    if (name === 'te' && fields[i + 1]!.toLowerCase() !== 'trailers') return 'te says something other than trailers'
  }
  return undefined
}

/** @returns -1 without a content-length, NaN when it is no number or is said in two ways (RFC 9110 §8.6) */
export function readDeclaredLength(fields: readonly string[]): number {
  let length = -1
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== 'content-length') continue
    const value = fields[i + 1]!
    const said = /^\d{1,15}$/.test(value) ? Number(value) : NaN
    if (length !== -1 && said !== length) return NaN
    length = said
  }
  return length
}
