/** ext_authz by chance: a service over HTTP that does what `x-auth` of the request says. */
import type http from 'node:http'
import type { JsonObject } from '@bufbuild/protobuf'
import type { Dice } from '../../../../fuzz/live/words.ts'
import { serveHttp } from '../../../../helpers/serve-http.ts'
import type { Finally } from '../../../programs.ts'
import { chance, compact } from '../matches.ts'

const PACKAGE = 'type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3'
export const AUTHZ = 'envoy.filters.http.ext_authz'
export const AUTH_WORDS = ['allow', 'change', 'deny', 'login', 'broken', 'odd'] as const

const ANSWERS: Readonly<Record<string, readonly [status: number, fields: http.OutgoingHttpHeaders]>> = {
  allow: [200, {}],
  change: [200, { 'x-a': 'authorized', 'x-user': 'u', 'r-a': 'told' }],
  deny: [403, { 'x-a': ['denied', 'twice'], 'x-why': 'denied' }],
  login: [302, { location: 'http://login.test/', 'set-cookie': 'a=b' }],
  broken: [500, {}],
  odd: [418, { 'x-user': 'u' }],
}
/** @returns its port */
export function startAuthorizer(t: Finally): Promise<number> {
  return serveHttp(t, (request, response) => {
    const [status, fields] = ANSWERS[String(request.headers['x-auth'])] ?? ANSWERS['allow']!
    request.resume()
    request.on('end', () => response.writeHead(status, { ...fields, 'content-length': '0' }).end())
  })
}

/** Not all of `x-`: Envoy adds how long the service took. */
const names = (dice: Dice): JsonObject => ({
  patterns: [dice.one<JsonObject>([{ exact: 'x-a' }, { prefix: 'x-w' }, { exact: 'r-a' }, { suffix: '-user' }])],
})
export function authzFilter(dice: Dice): JsonObject {
  const service = compact({
    server_uri: { uri: 'http://auth.test', cluster: 'auth', timeout: '5s' },
    path_prefix: chance(dice, 0.3, () => '/check'),
    authorization_request: chance(dice, 0.3, () => ({ headers_to_add: [{ key: 'x-added', value: 'v' }] })),
    authorization_response: chance(dice, 0.7, () =>
      compact({
        allowed_upstream_headers: chance(dice, 0.6, () => names(dice)),
        allowed_upstream_headers_to_append: chance(dice, 0.2, () => names(dice)),
        allowed_client_headers: chance(dice, 0.5, () => names(dice)),
        allowed_client_headers_on_success: chance(dice, 0.4, () => names(dice)),
      }),
    ),
  })
  const typed_config = compact({
    '@type': `${PACKAGE}.ExtAuthz`,
    transport_api_version: 'V3',
    http_service: service,
    allowed_headers: { patterns: [{ exact: 'x-auth' }] },
    failure_mode_allow: chance(dice, 0.4, () => true),
    failure_mode_allow_header_add: chance(dice, 0.3, () => true),
    status_on_error: chance(dice, 0.3, () => ({ code: 'ServiceUnavailable' })),
    clear_route_cache: chance(dice, 0.3, () => true),
  })
  return { name: AUTHZ, typed_config }
}
export function authzOverride(): JsonObject {
  return { [AUTHZ]: { '@type': `${PACKAGE}.ExtAuthzPerRoute`, disabled: true } }
}
