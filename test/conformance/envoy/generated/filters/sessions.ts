/** Persistent sessions by chance: an endpoint that is there, one that is not, and what is no address. */
import type { JsonObject } from '@bufbuild/protobuf'
import type { Dice } from '../../../../fuzz/live/words.ts'
import { chance, compact } from '../matches.ts'

const type = (name: string): string => `type.googleapis.com/envoy.extensions.${name}`
export const SESSION = 'envoy.filters.http.stateful_session'
const base64 = (bytes: Buffer | string): string => Buffer.from(bytes).toString('base64')
/** Envoy's message of the cookie. */
const inCookie = (address: string): string =>
  base64(Buffer.concat([Buffer.from([0x0a, address.length]), Buffer.from(address)]))

/** Of the address of the endpoint, which nobody knows before it listens. */
const THERE = ['{cookie}', '{header}'] as const
const ADDRESSES = ['127.0.0.1:1', '127.0.0.2:80', 'x', '']
export const SESSION_COOKIES = [THERE[0], THERE[1], 'odd', ...ADDRESSES.map(inCookie)].map(
  (text) => `session="${text}"`,
)
export const SESSION_FIELDS = [THERE[1], THERE[0], '%', ...ADDRESSES.map(base64)]

/** @param value of a request's field */
export function withEndpoint(value: string, port: number): string {
  const address = `127.0.0.1:${port}`
  return value.replace(THERE[0], inCookie(address)).replace(THERE[1], base64(address))
}
/** Both have an endpoint of their own behind `flaky`. */
export function withoutEndpoint(name: string, value: string): string {
  if (name === 'x-session') return 'an endpoint'
  return name === 'set-cookie' ? value.replace(/^session="[^"]*"/, 'session="an endpoint"') : value
}

const cookie = (dice: Dice): JsonObject => ({
  name: 'envoy.http.stateful_session.cookie',
  typed_config: {
    '@type': type('http.stateful_session.cookie.v3.CookieBasedSessionState'),
    cookie: compact({
      name: 'session',
      path: chance(dice, 0.4, () => dice.one(['/', '/a', '/api/'])),
      ttl: chance(dice, 0.2, () => '60s'),
      attributes: chance(dice, 0.2, () => [{ name: 'SameSite', value: 'Lax' }, { name: 'Secure' }]),
    }),
  },
})
const header = (): JsonObject => ({
  name: 'envoy.http.stateful_session.header',
  typed_config: { '@type': type('http.stateful_session.header.v3.HeaderBasedSessionState'), name: 'X-Session' },
})
function settings(dice: Dice): JsonObject {
  return compact({
    '@type': type('filters.http.stateful_session.v3.StatefulSession'),
    session_state: dice.hits(0.6) ? cookie(dice) : header(),
    strict: chance(dice, 0.4, () => true),
    status_on_strict_destination_not_found: chance(dice, 0.3, () => 410),
  })
}
export function sessionFilter(dice: Dice): JsonObject {
  return { name: SESSION, typed_config: settings(dice) }
}
export function sessionOverride(dice: Dice): JsonObject {
  const per = dice.hits(0.5) ? { disabled: true } : { stateful_session: withoutType(settings(dice)) }
  return { [SESSION]: { '@type': type('filters.http.stateful_session.v3.StatefulSessionPerRoute'), ...per } }
}
function withoutType(config: JsonObject): JsonObject {
  const { '@type': _, ...rest } = config
  return rest
}
