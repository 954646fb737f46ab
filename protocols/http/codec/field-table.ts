/**
 * What is taken from whom: one table for heads and trailers of every codec. A field that is not in it goes on as it
 * came. Envoy's columns are those of ConnectionManagerUtility::mutateRequestHeaders and cleanInternalHeaders; with no
 * internal_address_config nobody is internal.
 */

/**
 * - `hop`: of one connection (RFC 9110 §7.6.1, RFC 9113 §8.2.2); no message carries it on, in no direction.
 * - `head`: says how a message is framed, routed, authenticated or kept (RFC 9110 §6.5.1); not taken from trailers.
 * - `claim`: written by proxies and believed by workloads; made or kept by forwarded.ts and xfcc.ts, and not taken from
 *   trailers.
 * - `edge claim`: as `claim`, and a listener at the edge (use_remote_address) does not take it from a client, unless a
 *   proxy that it trusts stands in front.
 * - `private`: between the parts of one Envoy; taken from nobody.
 */
type From = 'hop' | 'head' | 'claim' | 'edge claim' | 'private'

const ROWS: Readonly<Record<From, readonly string[]>> = {
  hop: ['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', 'te', 'http2-settings'],
  head: [
    'content-length',
    'trailer',
    'host',
    'expect',
    'max-forwards',
    'range',
    'cache-control',
    'content-encoding',
    'content-type',
    'content-range',
    'authorization',
    'proxy-authorization',
    'proxy-authenticate',
    'www-authenticate',
    'cookie',
    'set-cookie',
    'age',
    'date',
    'expires',
    'location',
    'retry-after',
    'vary',
    'if-match',
    'if-none-match',
    'if-modified-since',
    'if-unmodified-since',
    'if-range',
  ],
  claim: ['x-forwarded-client-cert', 'x-forwarded-for', 'x-forwarded-proto', 'x-request-id'],
  'edge claim': [
    'forwarded',
    'x-forwarded-host',
    'x-forwarded-port',
    'x-forwarded-prefix',
    'x-forwarded-scheme',
    'x-forwarded-server',
    'x-forwarded-ssl',
    'x-original-host',
    'x-real-ip',
  ],
  private: [
    'x-envoy-internal',
    'x-envoy-retriable-status-codes',
    'x-envoy-retriable-header-names',
    'x-envoy-retry-on',
    'x-envoy-retry-grpc-on',
    'x-envoy-max-retries',
    'x-envoy-upstream-alt-stat-name',
    'x-envoy-upstream-rq-timeout-ms',
    'x-envoy-upstream-rq-per-try-timeout-ms',
    'x-envoy-upstream-rq-timeout-alt-response',
    'x-envoy-expected-rq-timeout-ms',
    'x-envoy-force-trace',
    'x-envoy-ip-tags',
    'x-envoy-original-url',
    'x-envoy-hedge-on-per-try-timeout',
  ],
}
/**
 * All of these are claims of proxies; a listener at the edge takes none of them, also those that nobody has heard of
 * yet.
 */
const ENVOY = 'x-envoy-'

const table: ReadonlyMap<string, From> = new Map(
  Object.entries(ROWS).flatMap(([from, names]) => names.map((name): [string, From] => [name, from as From])),
)

export function isHopByHop(name: string): boolean {
  return table.get(name) === 'hop'
}

/** Whether a trailer of that name may go on. */
export function mayTrail(name: string): boolean {
  return name.charCodeAt(0) !== 58 && !table.has(name) && !name.startsWith(ENVOY) && !isLookAlike(name)
}

/** Trailers, of whichever codec and direction, without what may not come so late; undefined = none are left. */
export function takeTrailers(fields: readonly string[]): string[] | undefined {
  const kept: string[] = []
  for (let i = 0; i < fields.length; i += 2) if (mayTrail(fields[i]!)) kept.push(fields[i]!, fields[i + 1]!)
  return kept.length === 0 ? undefined : kept
}

/**
 * Whether a request field of a name that begins with `x` or `f` is taken from the client. Other names are always taken.
 * @param edge the client is a stranger (use_remote_address)
 * @param trustedHops proxies in front that write claims of their own (xff_num_trusted_hops)
 */
export function isTaken(name: string, edge: boolean, trustedHops: number): boolean {
  const from = table.get(name)
  if (from === 'private') return false
  if (from === 'edge claim') return !edge || trustedHops > 0
  return from === 'claim' || (!(edge && name.startsWith(ENVOY)) && !isLookAlike(name))
}

/**
 * `x_forwarded_for` reads as `x-forwarded-for` wherever field names become names of variables (CGI, RFC 3875 §4.1.18,
 * WSGI, PHP), so who may not say the one may not say the other.
 */
function isLookAlike(name: string): boolean {
  if (!ODD.test(name)) return false
  const plain = toPlainName(name)
  return plain.startsWith(ENVOY) || table.has(plain)
}
const ODD = /[^a-z0-9-]/

/** Removes every line that reads as one of these names (isLookAlike). @param names as toPlainName has them */
export function removeWithLookAlikes(headers: string[], names: ReadonlySet<string>): void {
  if (names.size === 0) return
  for (let i = headers.length - 2; i >= 0; i -= 2) if (names.has(toPlainName(headers[i]!))) headers.splice(i, 2)
}
/**
 * Removes every line that only reads as one of these names, and is none of them.
 * @param list is asked only where a name is odd at all
 */
export function removeLookAlikes(headers: string[], list: () => readonly string[]): void {
  if (!headers.some((name, i) => i % 2 === 0 && ODD.test(name))) return
  const names = new Set(list())
  const plain = new Set([...names].map(toPlainName))
  for (let i = headers.length - 2; i >= 0; i -= 2)
    if (!names.has(headers[i]!) && plain.has(toPlainName(headers[i]!))) headers.splice(i, 2)
}
export const toPlainName = (name: string): string => (ODD.test(name) ? name.replace(/[^a-z0-9]/g, '-') : name)

/** Removes every line of that name. */
export function removeHeader(headers: string[], name: string): void {
  let to = 0
  for (let from = 0; from < headers.length; from += 2) {
    if (headers[from] === name) continue
    if (to !== from) {
      headers[to] = headers[from]!
      headers[to + 1] = headers[from + 1]!
    }
    to += 2
  }
  headers.length = to
}
