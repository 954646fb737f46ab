/**
 * One form of a request path for authorization, routing and the upstream alike (Envoy's normalize_path and
 * merge_slashes). The result replaces the request's path before anything looks at it, so no two of them can understand
 * it differently.
 */
import { MeshError } from '../../../core/errors.ts'

/**
 * Settings of the HTTP connection manager. `escapedSlashes`: what becomes of %2F and %5C
 * (path_with_escaped_slashes_action); left out: nothing.
 */
export type PathForm = {
  readonly normalizePath: boolean
  readonly mergeSlashes: boolean
  readonly escapedSlashes?: 'refuse' | 'unescape' | 'redirect' | undefined
}

/** Two more, about the host. */
export type HostForm = { readonly stripHostPort?: 'matching' | 'any' | undefined; readonly stripHostDot?: boolean }

/**
 * One form of the Host field for policies, routing and the upstream alike (Envoy's strip_trailing_host_dot,
 * strip_matching_host_port and strip_any_host_port, in its order).
 * @param localPort where the client connected to
 */
export function normalizeHost(authority: string, { stripHostPort, stripHostDot }: HostForm, localPort: number): string {
  if (stripHostPort === undefined && !stripHostDot) return authority
  const [, host = authority, port] = /^(\[[^\]]*\]|[^:]*)(:\d*)?$/.exec(authority) ?? []
  const name = stripHostDot && host.length > 1 && host.endsWith('.') ? host.slice(0, -1) : host
  if (port === undefined) return name
  return stripHostPort === 'any' || (stripHostPort === 'matching' && Number(port.slice(1)) === localPort)
    ? name
    : name + port
}

/**
 * Anything that may need work: an escape or what has to be one, a backslash, a control or non-ASCII character, `//` or
 * a segment that starts with a dot.
 */
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const SUSPECT = /[%\\#"<>^`{|}\x00-\x20\x7f-\uffff]|\/[/.]/

/**
 * @param target origin form with query; '*' and '' (CONNECT) come back as they are
 * @returns without dot segments (RFC 3986 §5.2.4); unreserved characters are unescaped (§6.2.2.2), characters that no URI
 * may contain are escaped. Other escapes stay as they are, hex digits included, as in Envoy: `%2F` is data and no
 * separator. The query is untouched.
 * @throws MESH_MALFORMED_INPUT for what servers read in different ways: a fragment, a backslash, a control character, an
 * incomplete escape, NUL, an overlong UTF-8 form
 */
export function normalizePath(target: string, form: PathForm): string {
  if (!SUSPECT.test(target)) return target
  if (target.includes('#')) throw refused('a fragment')
  if (target.charCodeAt(0) !== 47) return target
  const query = target.indexOf('?')
  let path = query < 0 ? target : target.slice(0, query)
  if (form.escapedSlashes !== undefined && ESCAPED_SLASH.test(path)) path = slashesOf(path, form)
  if (form.normalizePath) path = withoutDotSegments(unescaped(path))
  if (form.mergeSlashes) path = path.replace(/\/{2,}/g, '/')
  return query < 0 ? path : path + target.slice(query)
}

/** @param target as the client sent it */
export function hasEscapedSlash(target: string): boolean {
  return ESCAPED_SLASH.test(target.split('?', 1)[0]!)
}
const ESCAPED_SLASH = /%(?:2f|5c)/i

function unescaped(path: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\\\x00-\x20\x7f]/.test(path)) throw refused('a backslash, space or control character')
  // As Envoy does: a rule about `/a%7Cb` is about `/a|b`, too.
  path = path.replace(/["<>^`{|}]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
  if (!path.includes('%')) return path
  if (/%(?![0-9A-Fa-f]{2})/.test(path)) throw refused('an incomplete escape (RFC 3986 §2.1)')
  if (/%00/.test(path)) throw refused('an escaped NUL')
  // C0 and C1 start only overlong forms, E0 80–9F and F0 80–8F are overlong, F5 and above start nothing (RFC 3629 §3).
  if (/%(?:c[01]|e0%[89]|f0%8|f[5-9a-f])/i.test(path)) throw refused('an overlong UTF-8 escape (RFC 3629 §3)')
  return path.replace(/%(?:2[de]|3[0-9]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae])/gi, (escape) =>
    String.fromCharCode(parseInt(escape.slice(1), 16)),
  )
}

/** Before the path is normalised, as in Envoy, which reads a backslash as a slash then. */
function slashesOf(path: string, form: PathForm): string {
  if (form.escapedSlashes === 'refuse') throw refused('an escaped slash (path_with_escaped_slashes_action)')
  return path.replace(/%(?:2f|5c)/gi, (escape) => (form.normalizePath || escape[1] === '2' ? '/' : '\\'))
}

/** RFC 3986 §5.2.4 for a path that starts with a slash; `..` above the root stays at the root. */
function withoutDotSegments(path: string): string {
  if (!path.includes('/.')) return path
  const kept: string[] = []
  const segments = path.split('/')
  for (const [i, segment] of segments.entries()) {
    const last = i === segments.length - 1
    if (segment === '..') {
      if (kept.length > 1) kept.pop()
      if (last) kept.push('')
    } else if (segment === '.') {
      if (last) kept.push('')
    } else {
      kept.push(segment)
    }
  }
  return kept.length === 1 ? '/' : kept.join('/')
}

function refused(what: string): MeshError {
  return new MeshError('MESH_MALFORMED_INPUT', `the request path holds ${what}`)
}
