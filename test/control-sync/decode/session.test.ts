import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import type { StatefulSession } from '../../../model/http/session.ts'
import { decode } from '../../../control-sync/decode/decode.ts'
import { sample } from '../../helpers/control-plane/resources.ts'

const T = 'type.googleapis.com/envoy'
const STATE = `${T}.extensions.http.stateful_session`
const SESSION = `${T}.extensions.filters.http.stateful_session.v3`
const state = (type: string, more: JsonObject): JsonObject => ({
  session_state: { name: 's', typed_config: { '@type': `${STATE}.${type}`, ...more } },
})
const HEADER = state('header.v3.HeaderBasedSessionState', { name: 'X-Session' })
const cookie = (more: JsonObject): JsonObject => state('cookie.v3.CookieBasedSessionState', { cookie: more })

/** Of the filter of an outbound listener: what is kept, or why it is blocked. */
function filterOf(session: JsonObject): StatefulSession | string | undefined {
  const decoded = decode(
    'listener',
    sample({
      '@type': `${T}.config.listener.v3.Listener`,
      name: 'l',
      address: { socket_address: { address: '127.0.0.1', port_value: 1 } },
      filter_chains: [
        {
          filters: [
            {
              name: 'hcm',
              typed_config: {
                '@type': `${T}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
                stat_prefix: 's',
                rds: { route_config_name: 'r' },
                http_filters: [
                  { name: 'session', typed_config: { '@type': `${SESSION}.StatefulSession`, ...session } },
                ],
              },
            },
          ],
        },
      ],
    }).bytes,
  )
  assert.ok(decoded.ok, JSON.stringify(decoded))
  const { codec } = decoded.value.filterChains[0]!
  assert.ok(codec.kind === 'http')
  const [filter] = codec.http.filters
  if (filter?.kind === 'session') return filter.session
  assert.ok(filter?.kind === 'blocked', JSON.stringify(filter))
  return filter.reason
}
function routeOf(perRoute: JsonObject): unknown {
  const decoded = decode(
    'route',
    sample({
      '@type': `${T}.config.route.v3.RouteConfiguration`,
      name: 'r',
      virtual_hosts: [
        {
          name: 'v',
          domains: ['*'],
          routes: [
            {
              match: { prefix: '/' },
              route: { cluster: 'c' },
              typed_per_filter_config: { session: { '@type': `${SESSION}.StatefulSessionPerRoute`, ...perRoute } },
            },
          ],
        },
      ],
    }).bytes,
  )
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded.value.virtualHosts[0]!.routes[0]!.filters?.get('session')?.session
}

test('cookies and headers that keep a session, as istiod sends them', () => {
  assert.equal(filterOf({}), undefined, 'the empty filter of every listener: routes say what is kept')
  assert.deepEqual(filterOf(HEADER), { kept: { in: 'header', name: 'x-session' }, isStrict: false })
  assert.deepEqual(
    filterOf({
      ...cookie({ name: 's', ttl: '90s', path: '/a', attributes: [{ name: 'SameSite', value: 'Lax' }] }),
      strict: true,
      status_on_strict_destination_not_found: 410,
    }),
    {
      kept: { in: 'cookie', name: 's', ttlSec: 90, path: '/a', attributes: [['SameSite', 'Lax']] },
      isStrict: true,
      notFoundStatus: 410,
    },
  )
})
test('what would split a field, or is no status, blocks the filter', () => {
  for (const bad of [
    cookie({ name: 'a b' }),
    cookie({ name: 's', path: '/; Domain=x' }),
    cookie({ name: 's', attributes: [{ name: 'a\r\nx', value: 'b' }] }),
    { ...HEADER, status_on_strict_destination_not_found: 42 },
    state('cookie.v3.CookieBasedSessionState', {}),
  ])
    assert.equal(typeof filterOf(bad), 'string', JSON.stringify(bad))
})
test('a route keeps sessions of its own, or none', () => {
  assert.deepEqual(routeOf({ stateful_session: HEADER }), {
    kept: { in: 'header', name: 'x-session' },
    isStrict: false,
  })
  assert.equal(routeOf({ disabled: true }), false)
  assert.equal(routeOf({ stateful_session: {} }), false)
})
test('override_host_status: who may have what a client wants it to have', () => {
  const decoded = decode(
    'cluster',
    sample({
      '@type': `${T}.config.cluster.v3.Cluster`,
      name: 'c',
      common_lb_config: { override_host_status: { statuses: ['UNKNOWN', 'HEALTHY', 'DRAINING', 'DEGRADED'] } },
    }).bytes,
  )
  assert.ok(decoded.ok)
  assert.deepEqual(decoded.value.wantedMayBe, new Set(['healthy', 'draining', 'degraded']))
})
