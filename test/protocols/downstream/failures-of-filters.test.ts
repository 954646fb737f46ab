/**
 * As failures.test.ts, with the filters that ask others, keep bodies or send more than one request: whatever the service
 * or the endpoint does meanwhile, in the end nothing is counted any more.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import type { Cluster, Endpoint } from '../../../model/cluster.ts'
import type { GrpcAuthService } from '../../../model/http/ext-authz.ts'
import type { FilterChain, HttpFilter } from '../../../model/listener.ts'
import { settle } from '../../helpers/sim-clock.ts'
import { SimNetwork } from '../../helpers/sim-network.ts'
import { cluster, endpoint, forwardTo, manager, ORIGIN, route } from '../http/harness.ts'
import { HTTP, SETTINGS } from '../http/filters/ext-authz/rig.ts'
import { SNIFFING } from './failing/clients.ts'
import { countLeft } from './failing/counted.ts'
import { ENDPOINTS, H2_ENDPOINTS, startEndpoint } from './failing/endpoints.ts'
import { EVENTS } from './failing/events.ts'
import { LOOPBACK, SocketRig } from './socket-rig.ts'

const SERVICE = { host: '10.9.9.9', port: 90 }
const GRPC: GrpcAuthService = { kind: 'grpc', cluster: 'service', authority: 's', timeoutMs: 20_000, headers: [] }
const types = new Set(['text/plain', 'application/json'])
const FILTERS: Readonly<Record<string, HttpFilter>> = {
  'ext_authz with all of the body': {
    kind: 'ext-authz',
    name: 'a',
    authz: {
      ...SETTINGS,
      service: { ...HTTP, cluster: 'service' },
      body: { maxBytes: 9_000, partial: false, asBytes: false },
    },
  },
  'ext_authz with some of the body, which may fail': {
    kind: 'ext-authz',
    name: 'a',
    authz: { ...SETTINGS, failureAllows: true, service: GRPC, body: { maxBytes: 5_000, partial: true, asBytes: true } },
  },
  buffer: { kind: 'buffer', name: 'b', maxBytes: 9_000 },
  compressor: {
    kind: 'compressor',
    name: 'c',
    compressor: {
      library: { encoding: 'gzip', level: 1, strategy: 0, windowBits: 12, memoryLevel: 5 },
      response: {
        enabled: true,
        minBytes: 1,
        types,
        keepsEtags: false,
        weakensEtags: false,
        hidesAcceptEncoding: false,
        exemptStatuses: new Set(),
      },
      request: { enabled: true, minBytes: 1, types },
      isPreferred: false,
    },
  },
  'a delay': { kind: 'fault', name: 'f', fault: { delay: { ms: 30_000, fraction: 1 }, abort: undefined, headers: [] } },
}
const BODY = 'x'.repeat(6_000)
const post = (length: number, body: string): string =>
  `POST / HTTP/1.1\r\nhost: a\r\ncontent-type: text/plain\r\naccept-encoding: gzip\r\ncontent-length: ${length}\r\n\r\n${body}`
const SPOKEN: Readonly<Record<string, string>> = {
  'all of a body': post(BODY.length, BODY),
  'half a body': post(2 * BODY.length, BODY),
  'more than is taken': post(3 * BODY.length, BODY.repeat(3)),
  'an upgrade': 'GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n',
}

const at = ({ host, port }: { readonly host: string; readonly port: number }): Endpoint => endpoint(host, port)
/** What the two do; one of them is the one that is tried. */
type Kinds = { readonly service: string; readonly origin: string }
const REDIRECTS: (typeof ENDPOINTS)[string] = {
  serve: (s) => {
    s.on('data', () => {
      s.write('HTTP/1.1 302 Found\r\nlocation: http://a/b\r\ncontent-length: 0\r\n\r\n')
    })
  },
}
const kindOf = (name: string): (typeof ENDPOINTS)[string] =>
  name === 'redirects' ? REDIRECTS : (ENDPOINTS[name] ?? H2_ENDPOINTS[name]!)

async function leftBy(filters: readonly HttpFilter[], spoken: string, kinds: Kinds, event: string): Promise<object> {
  const network = new SimNetwork()
  const more: readonly (readonly [string, Cluster, typeof ORIGIN])[] = (['service', 'origin'] as const).map((name) => {
    const place = name === 'service' ? SERVICE : ORIGIN
    return [kinds[name], cluster([at(place)], { name, connectTimeoutMs: 5_000, ...kindOf(kinds[name]).cluster }), place]
  })
  const clusters = more.map(([, made]) => made)
  const mirrors = [{ cluster: { name: 'service' }, fraction: 1, keepsHost: true }]
  const redirects = { statuses: new Set([302]), max: 2, crossesSchemes: false, predicates: [], copies: [] }
  const http = manager([route(forwardTo({ mirrors, internalRedirects: redirects, timeoutMs: 50_000 }))], {
    codec: 'auto',
    upgrades: ['websocket'],
    requestTimeoutMs: 40_000,
    filters,
  })
  const chain: Pick<FilterChain, 'codec'> = { codec: { kind: 'http', http } }
  const limits = { idleMs: 90_000, requestHeadMs: 10_000, drainMs: 30_000 }
  const rig = await SocketRig.open(chain, { network, clusters, listener: SNIFFING, limits })
  for (const [name, , place] of more) await startEndpoint(network, place, kindOf(name))
  const clients: Duplex[] = []
  for (let i = 0; i < 3; i++) {
    const { stream } = await network.dial({ host: LOOPBACK, port: rig.port }, new AbortController().signal)
    stream.on('error', () => {})
    stream.resume()
    stream.write(spoken)
    clients.push(stream)
  }
  await settle()
  const over = EVENTS[event]!({ rig, clients, chain, clusters })
  await rig.clock.advance(200_000)
  for (const s of clients) s.destroy()
  await settle()
  await rig.clock.advance(200_000)
  await over
  // zlib needs turns of the loop that nobody can count.
  for (let i = 0; i < 400 && Object.keys(countLeft(rig)).length > 0; i++) await delay(5)
  const left = countLeft(rig)
  await rig[Symbol.asyncDispose]()
  return left
}

const WELL: ReadonlySet<string> = new Set(['answers', 'answers over HTTP/2'])
for (const [name, filter] of Object.entries(FILTERS))
  for (const spoken of Object.keys(SPOKEN))
    test(`${name}, ${spoken}: nothing is counted in the end`, async () => {
      const isGrpc = filter.kind === 'ext-authz' && filter.authz.service.kind === 'grpc'
      const isFirst = spoken === Object.keys(SPOKEN)[0]
      const services = Object.keys(isGrpc ? H2_ENDPOINTS : ENDPOINTS).filter((_, i) => isFirst || i % 4 === 0)
      const origins = Object.keys(ENDPOINTS).filter((_, i) => isFirst || i % 4 === 2)
      const pairs: Kinds[] = [
        ...services.map((service) => ({ service, origin: 'answers' })),
        ...[...origins, 'redirects'].map((origin) => ({ service: 'answers', origin })),
      ].filter(({ service, origin }) => !(WELL.has(service) && origin === 'answers') || service === 'answers')
      const wrong: string[] = []
      for (const kinds of pairs)
        for (const event of Object.keys(EVENTS)) {
          const left = await leftBy([filter], SPOKEN[spoken]!, kinds, event)
          if (Object.keys(left).length > 0)
            wrong.push(`the service ${kinds.service}, the endpoint ${kinds.origin}, ${event}: ${JSON.stringify(left)}`)
        }
      assert.deepEqual(wrong, [])
    })
