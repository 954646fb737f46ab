/**
 * Whatever text a configuration compares with, in whichever matcher: the bytes of that text match, and those of another
 * do not. Made from chance.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { SimClock } from '../../../helpers/sim-clock.ts'
import type { JsonObject } from '@bufbuild/protobuf'
import { decode } from '../../../../control-sync/decode/decode.ts'
import type { HttpConnectionManager } from '../../../../model/listener.ts'
import { RequestHead } from '../../../../protocols/http/message.ts'
import { planExchange } from '../../../../protocols/http/exchange/planning/plan-exchange.ts'
import { seededRandom } from '../../../helpers/random.ts'
import { sample } from '../../../helpers/control-plane/resources.ts'
import { cluster, tablesOf } from '../harness.ts'

const E = 'type.googleapis.com/envoy'
const random = seededRandom(20)
const ALPHABET = Array.from('abzÄÖüßéñ中文字🚪🔧Жџ\u212aı')
const word = (): string =>
  Array.from(
    { length: 1 + Math.floor(random.float() * 6) },
    () => ALPHABET[Math.floor(random.float() * ALPHABET.length)]!,
  ).join('')

/**
 * `at`: where the text stands in the request. `makes`: the listener's parts; the request is refused or finds no route
 * unless the matcher holds.
 */
const allow = (permission: JsonObject, principal: JsonObject = { any: true }): { filters: JsonObject[] } => ({
  filters: [
    {
      name: 'envoy.filters.http.rbac',
      typed_config: {
        '@type': `${E}.extensions.filters.http.rbac.v3.RBAC`,
        rules: { action: 'ALLOW', policies: { p: { permissions: [permission], principals: [principal] } } },
      },
    },
  ],
})
const match = (m: JsonObject): { match: JsonObject } => ({ match: m })
const PLACES: readonly {
  readonly name: string
  readonly at: At
  readonly makes: (text: string) => { filters?: JsonObject[]; match?: JsonObject }
}[] = [
  ...(['exact', 'prefix', 'suffix', 'contains'] as const).flatMap((kind) => [
    {
      name: `RBAC permission, header ${kind}`,
      at: 'header' as const,
      makes: (text: string) => allow({ header: { name: 'x', string_match: { [kind]: text } } }),
    },
    {
      name: `route header ${kind}`,
      at: 'header' as const,
      makes: (text: string) => match({ prefix: '/', headers: [{ name: 'x', string_match: { [kind]: text } }] }),
    },
  ]),
  {
    name: 'RBAC principal, header regex',
    at: 'header',
    makes: (text) => allow({ any: true }, { header: { name: 'x', string_match: { safe_regex: { regex: text } } } }),
  },
  { name: 'RBAC url_path', at: 'path', makes: (text) => allow({ url_path: { path: { exact: `/${text}` } } }) },
  {
    name: 'RBAC url_path regex',
    at: 'path',
    makes: (text) => allow({ url_path: { path: { safe_regex: { regex: `/${text}` } } } }),
  },
  {
    name: 'RBAC :path',
    at: 'path',
    makes: (text) => allow({ header: { name: ':path', string_match: { exact: `/${text}` } } }),
  },
  { name: 'route path', at: 'path', makes: (text) => match({ path: `/${text}` }) },
  { name: 'route path_separated_prefix', at: 'path', makes: (text) => match({ path_separated_prefix: `/${text}` }) },
  { name: 'route safe_regex', at: 'path', makes: (text) => match({ safe_regex: { regex: `/${text}` } }) },
  {
    name: 'route query parameter',
    at: 'query',
    makes: (text) => match({ prefix: '/', query_parameters: [{ name: 'q', string_match: { exact: text } }] }),
  },
]

type At = 'header' | 'path' | 'query'
const CLIENT = {
  peer: undefined,
  directRemoteIp: '10.0.0.1',
  remoteIp: '10.0.0.1',
  destinationIp: '10.0.0.2',
  destinationPort: 80,
  serverName: '',
}

function passes(parts: { filters?: JsonObject[]; match?: JsonObject }, at: At, text: string): boolean {
  const http = managerWith(parts)
  const request = requestWith(at, Buffer.from(text).toString('latin1'))
  const tables = tablesOf([cluster()])
  return (
    planExchange({
      tables,
      http,
      request,
      client: CLIENT,
      upgrade: undefined,
      random,
      clocks: { clock: new SimClock() },
    }).kind === 'forward'
  )
}

function requestWith(at: At, bytes: string): RequestHead {
  const path = at === 'path' ? `/${bytes}` : at === 'query' ? `/?q=${bytes}` : '/'
  return new RequestHead({
    method: 'GET',
    scheme: 'http',
    authority: 'a',
    path,
    headers: at === 'header' ? ['x', bytes] : [],
    version: 'HTTP/1.1',
    bodyLength: 0,
    upgrade: undefined,
    expectContinue: false,
  })
}

function managerWith(parts: { filters?: JsonObject[]; match?: JsonObject }): HttpConnectionManager {
  const routes = [{ match: parts.match ?? { prefix: '/' }, route: { cluster: 'origin' } }]
  const manager = {
    '@type': `${E}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    http_filters: parts.filters ?? [],
    route_config: { virtual_hosts: [{ name: 'v', domains: ['*'], routes }] },
  }
  const listener = sample({
    '@type': `${E}.config.listener.v3.Listener`,
    name: 'l',
    traffic_direction: 'INBOUND',
    address: { socket_address: { address: '0.0.0.0', port_value: 80 } },
    filter_chains: [{ filters: [{ name: 'h', typed_config: manager }] }],
  })
  const decoded = decode('listener', listener.bytes)
  assert.ok(decoded.ok)
  const { codec } = decoded.value.filterChains[0]!
  assert.ok(codec.kind === 'http')
  return codec.http
}

for (const { name, at, makes } of PLACES) {
  test(`received bytes and configured text: ${name}`, () => {
    for (let i = 0; i < 20; i++) {
      const text = word()
      assert.equal(passes(makes(text), at, text), true, text)
      assert.equal(passes(makes(text), at, text === 'q' ? 'r' : 'q'), false, text)
    }
  })
}
