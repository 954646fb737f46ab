/**
 * Every failure of every stage, generated: whatever the endpoint does, whatever happens meanwhile, and with limits that
 * are met, in the end nothing is counted any more. A path that forgets to give back what it took is found here, also
 * one that nobody thought of.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Duplex } from 'node:stream'
import type { Breakers } from '../../../model/cluster.ts'
import { settle } from '../../helpers/sim-clock.ts'
import { SimNetwork } from '../../helpers/sim-network.ts'
import { cluster, ORIGIN } from '../http/harness.ts'
import { CLIENTS, identity, SNIFFING } from './failing/clients.ts'
import { countLeft } from './failing/counted.ts'
import { EVENTS } from './failing/events.ts'
import { ENDPOINTS, H2_ENDPOINTS, startEndpoint } from './failing/endpoints.ts'
import { LOOPBACK, SocketRig } from './socket-rig.ts'

const WIDE: Breakers = {
  maxConnections: 100,
  maxPendingRequests: 100,
  maxRequests: 100,
  maxRetries: 3,
  retryBudget: undefined,
}
const NARROW: Breakers = {
  maxConnections: 1,
  maxPendingRequests: 1,
  maxRequests: 3,
  maxRetries: 1,
  retryBudget: undefined,
}
async function leftBy(
  client: keyof typeof CLIENTS,
  to: string,
  event: keyof typeof EVENTS,
  breakers: Breakers,
): Promise<Record<string, number>> {
  const network = new SimNetwork()
  const { chain, speak } = CLIENTS[client]!
  const kind = ENDPOINTS[to] ?? H2_ENDPOINTS[to]!
  const clusters = [cluster(undefined, { breakers, connectTimeoutMs: 5_000, ...kind.cluster })]
  const rig = await SocketRig.open(chain, {
    identity,
    network,
    clusters,
    listener: SNIFFING,
    limits: { maxConnections: breakers === NARROW ? 4 : 100, idleMs: 90_000, requestHeadMs: 10_000, drainMs: 30_000 },
    resolve: kind.resolve ?? (async () => [ORIGIN.host]),
  })
  await startEndpoint(network, ORIGIN, kind)
  const clients: Duplex[] = []
  for (let i = 0; i < 5; i++) {
    const { stream } = await network.dial({ host: LOOPBACK, port: rig.port }, new AbortController().signal)
    stream.on('error', () => {})
    // Who reads what comes is node:http2 there.
    if (client !== 'HTTP/2 requests') stream.resume()
    if (!stream.destroyed) speak(stream)
    clients.push(stream)
  }
  await settle()
  const over = EVENTS[event]!({ rig, clients, chain, clusters })
  // All timeouts there are, and whoever is left goes then.
  await rig.clock.advance(200_000)
  for (const s of clients) s.destroy()
  await settle()
  await rig.clock.advance(200_000)
  await over
  const left = countLeft(rig)
  await rig[Symbol.asyncDispose]()
  return left
}

/** Enough of those that get as far as an HTTP/2 endpoint. */
const SPOKEN_BY_H2: ReadonlySet<string> = new Set(['a request', 'half a body', 'HTTP/2 requests'])
for (const client of Object.keys(CLIENTS)) {
  // Who never gets as far as an endpoint need not be tried with each.
  const all = SPOKEN_BY_H2.has(client)
    ? [...Object.keys(ENDPOINTS), ...Object.keys(H2_ENDPOINTS)]
    : Object.keys(ENDPOINTS)
  const few =
    client.startsWith('an HTTP/2') || client.endsWith('their turn')
      ? [
          'does not accept',
          'is silent',
          'resets at once',
          'answers half and resets',
          'answers',
          ...Object.keys(H2_ENDPOINTS).slice(0, client.includes('tunnel') ? 0 : 5),
        ]
      : all
  const endpoints = [
    'silent',
    'half a ClientHello',
    'no TLS where TLS is asked for',
    'half a request head',
    'garbage',
  ].includes(client)
    ? ['answers']
    : few
  test(`${client}: nothing is counted in the end, whatever ${endpoints.length} endpoints do and ${Object.keys(EVENTS).length} things that happen`, async () => {
    const wrong: string[] = []
    for (const to of endpoints) {
      for (const event of Object.keys(EVENTS)) {
        for (const breakers of to in H2_ENDPOINTS && client !== 'HTTP/2 requests' ? [WIDE] : [WIDE, NARROW]) {
          const left = await leftBy(client, to, event, breakers)
          if (Object.keys(left).length > 0)
            wrong.push(
              `the endpoint ${to}, ${event}${breakers === NARROW ? ', narrow limits' : ''}: ${JSON.stringify(left)}`,
            )
        }
      }
    }
    assert.deepEqual(wrong, [])
  })
}
