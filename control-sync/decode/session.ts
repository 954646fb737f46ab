/** envoy.extensions.filters.http.stateful_session.v3 → StatefulSession. */
import type { SessionKept, StatefulSession } from '../../model/http/session.ts'
import {
  StatefulSessionSchema,
  type StatefulSession as XSession,
} from '../../proto/gen/envoy/extensions/filters/http/stateful_session/v3/stateful_session_pb.ts'
import { CookieBasedSessionStateSchema } from '../../proto/gen/envoy/extensions/http/stateful_session/cookie/v3/cookie_pb.ts'
import { HeaderBasedSessionStateSchema } from '../../proto/gen/envoy/extensions/http/stateful_session/header/v3/header_pb.ts'
import { readEffectiveType, unpack } from './fields/any.ts'
import { noteIgnored, type DecodePath } from './fields/decode-path.ts'
import { decodeMs } from './fields/values.ts'
import { decodeHeaderName } from './route/header-changes.ts'

/** @returns undefined: it keeps nothing, as the filter that istiod gives every listener */
export function decodeSession(at: DecodePath, from: XSession): StatefulSession | undefined {
  noteIgnored(at, StatefulSessionSchema, from)
  if (!from.sessionState) return undefined
  const kept = keptIn(at.in('session_state'), from.sessionState.typedConfig)
  const status = from.statusOnStrictDestinationNotFound
  if (status !== 0 && (status < 200 || status > 599))
    at.in('status_on_strict_destination_not_found').issue('is no status of an answer')
  return kept && { kept, isStrict: from.strict, ...(status !== 0 && { notFoundStatus: status }) }
}

function keptIn(at: DecodePath, any: Parameters<typeof unpack>[1]): SessionKept | undefined {
  const here = at.in('typed_config')
  const cookie = unpack(here, any, CookieBasedSessionStateSchema)?.cookie
  if (cookie) {
    const place = here.in('cookie')
    if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(cookie.name)) place.in('name').issue('is no name of a cookie')
    checkText(place.in('path'), cookie.path)
    for (const [i, { name, value }] of cookie.attributes.entries())
      checkText(place.in('attributes').item(i), `${name}${value}`)
    return {
      in: 'cookie',
      name: cookie.name,
      ttlSec: Math.floor((decodeMs(place.in('ttl'), cookie.ttl) ?? 0) / 1000),
      path: cookie.path,
      attributes: cookie.attributes.map(({ name, value }) => [name, value] as const),
    }
  }
  const header = unpack(here, any, HeaderBasedSessionStateSchema)
  if (header) {
    return { in: 'header', name: decodeHeaderName(here.in('name'), header.name) ?? '' }
  }
  here.issue(`sessions cannot be kept in ${readEffectiveType(here, any) || 'nothing'}`)
  return undefined
}

function checkText(at: DecodePath, text: string): void {
  if (/[\0\r\n;]/.test(text)) at.issue('has a character that ends a cookie')
}
