/** What of two answers must be the same. */
import type { Answer } from './client.ts'
import { withoutEndpoint } from './filters/sessions.ts'
import type { Request } from './requests.ts'

/** What reached the endpoint, as it says itself. */
type Saw = { readonly method: string; readonly url: string; readonly rawHeaders: string[]; readonly body: string }

/** Names in lower case, in the order of names; the order of values of one name stays. */
function sortFields(fields: readonly (readonly [string, string])[], without: ReadonlySet<string>): string[] {
  return (
    fields
      .filter(([name]) => !without.has(name.toLowerCase()))
      .map(([name, value]): [string, string] => [name.toLowerCase(), value])
      // Envoy writes a query anew when it has taken a token out of it.
      .map(([name, value]): [string, string] => [name, name === 'location' ? sortQuery(value) : value])
      .map(([name, value]): [string, string] => [name, withoutEndpoint(name, value)])
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      .map(([name, value]) =>
        `${name}: ${value}`.replace(/^(location: https:.*):80\//, '$1/').replace(/realm="[^"]*".*/, 'realm'),
      )
  )
}
const pairs = (raw: readonly string[]): [string, string][] =>
  raw.flatMap((name, i): [string, string][] => (i % 2 === 0 ? [[name, raw[i + 1]!]] : []))

/** By names, each with a value. */
function sortQuery(url: string): string {
  const [path, query] = url.split('?', 2)
  if (query === undefined) return url
  const parts = query.split('&').map((pair) => (pair.includes('=') ? pair : `${pair}=`))
  const nameOf = (pair: string): string => pair.slice(0, pair.indexOf('='))
  return `${path}?${parts.sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : nameOf(a) > nameOf(b) ? 1 : 0)).join('&')}`
}

/** Of each proxy's own: times, ids, the text of a local answer, how it is framed and whether it could be compressed. */
const OWN_OF_ANSWER = new Set(['date', 'saw', 'x-envoy-upstream-service-time', 'x-meshlet-error', 'keep-alive'])
const OWN_OF_TEXT = new Set(['content-length', 'content-type', 'transfer-encoding', 'vary'])
const OWN_OF_REQUEST = new Set(['connection', 'te', 'x-key'])

/** The endpoint was not asked. */
export function isLocal({ fields }: Answer): boolean {
  return !fields.some(([name]) => name === 'saw')
}
/** meshlet refused it before there was a request to plan. */
export function isMalformed({ fields }: Answer): boolean {
  return fields.some(([name, value]) => name === 'x-meshlet-error' && value === 'MESH_MALFORMED_INPUT')
}

export function factsOf({ status, fields, body, isOpen }: Answer, sent: Request): Record<string, unknown> {
  const told = fields.find(([name]) => name === 'saw')?.[1]
  const isLocal = told === undefined
  const saw = isLocal ? undefined : (JSON.parse(decodeURI(told)) as Saw)
  // Envoy gives up the connection when it answers by itself before it has read the body.
  const isUnread = isLocal && (sent.body ?? '') !== ''
  const isDirect = body.startsWith('direct ')
  // What a route says of the redirect of UNESCAPE_AND_REDIRECT (docs/differences.md).
  const isUnescaped = isLocal && status === 307 && sent.fields.some(([name]) => name === 'x-forwarded-proto')
  // Of several tokens that do not count, either may be the one that is told.
  const isTokenRefused = fields.some(([name]) => name === 'www-authenticate')
  return {
    status: isTokenRefused ? 401 : status,
    fields:
      status === 400 || isTokenRefused
        ? []
        : isUnescaped
          ? fields.filter(([name]) => name.toLowerCase() === 'location').map(([, value]) => value)
          : sortFields(
              fields,
              new Set([
                ...OWN_OF_ANSWER,
                ...(isLocal ? OWN_OF_TEXT : []),
                ...(isUnread ? ['connection'] : []),
                ...(!isLocal ? ['content-length'] : []),
              ]),
            ),
    body: isLocal && isDirect ? body : '',
    isOpen: isUnread || status === 400 || isOpen,
    saw: saw && {
      method: saw.method,
      // Envoy writes the query anew when it has taken a token out of it.
      url: sortQuery(saw.url),
      body: saw.body,
      fields: sortFields(pairs(saw.rawHeaders), OWN_OF_REQUEST)
        .filter((field) => field !== 'content-length: 0')
        .map((field) =>
          field
            // Of a later try it is what is left.
            .replace(
              /^(x-envoy-expected-rq-timeout-ms: )(\d+)$/,
              (_, name: string, ms: string) => `${name}${Math.ceil(Number(ms) / 1000)} s`,
            )
            .replace(/^(x-request-id: )[0-9a-f]{8}-[0-9a-f-]{27}$/, '$1made')
            .replace(/^x-forwarded-port: \d{5}$/, 'x-forwarded-port: own')
            .replace(/^x-envoy-original-path: .*/, sortQuery)
            .replace(/192\.0\.2\.2|127\.0\.0\.1/, 'client'),
        ),
    },
  }
}
