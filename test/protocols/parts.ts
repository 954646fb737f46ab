/** Parts that several rigs of the data path need: a context, a connection in clear, and what clusters are made of. */
import type { Duplex } from 'node:stream'
import { Current } from '../../core/current.ts'
import { silentLog } from '../../core/log.ts'
import { Metrics } from '../../core/metrics.ts'
import { systemClock } from '../../core/os/clock.ts'
import { systemNetwork } from '../../core/os/network.ts'
import type { ClusterLoad, Discovery, Endpoint } from '../../model/cluster.ts'
import type { FilterChain, HttpConnectionManager, Listener } from '../../model/listener.ts'
import { EMPTY_TABLES, type Tables } from '../../model/tables.ts'
import type { UpstreamTls } from '../../model/tls.ts'
import type { Connection } from '../../protocols/connection.ts'
import { DEFAULT_LIMITS, type Context } from '../../protocols/context.ts'
import type { ClientFacts } from '../../protocols/http/filters/policy-facts.ts'
import { seededRandom } from '../helpers/random.ts'

/** The real world without an identity, and empty tables unless others are given. */
export function realContext(more: Partial<Context> = {}): Context {
  return {
    clock: systemClock,
    random: seededRandom(1),
    network: systemNetwork,
    log: silentLog,
    metrics: new Metrics(),
    tables: new Current<Tables>(EMPTY_TABLES),
    identity: { current: () => undefined, watch: () => ({ [Symbol.dispose]: () => {} }) },
    limits: DEFAULT_LIMITS,
    ...more,
  }
}

/** In clear, to a listener whose one chain serves HTTP. */
export function connectionInClear(
  stream: Duplex,
  http: HttpConnectionManager,
  more: Partial<Connection> = {},
): Connection {
  const chain = {
    name: 'c',
    match: {} as FilterChain['match'],
    tls: undefined,
    policies: [],
    codec: { kind: 'http', http },
  } satisfies FilterChain
  return {
    id: 'c',
    local: { host: '127.0.0.1', port: 80 },
    originalDst: undefined,
    remote: { host: '127.0.0.1', port: 5 },
    startedMs: 0,
    startedWallMs: 0,
    listener: { name: 'l', direction: 'inbound' } as Listener,
    chain,
    stream,
    tls: undefined,
    offered: { transport: 'raw_buffer', serverName: '', alpn: [] },
    draining: new AbortController().signal,
    aborted: new AbortController().signal,
    receivedBytes: 0,
    sentBytes: 0,
    cluster: '-',
    ...more,
  }
}

/** All of them in one locality. */
export const loadOf = (endpoints: readonly Endpoint[], clusterName = 'origin'): ClusterLoad => ({
  clusterName,
  localities: [{ region: '', zone: '', subZone: '', priority: 0, weight: 1, endpoints }],
})

/** The addresses of endpoints are names that are looked up. */
export const byName = (
  endpoints: readonly Endpoint[],
  more: Partial<Extract<Discovery, { kind: 'dns' }>> = {},
): Extract<Discovery, { kind: 'dns' }> => ({
  kind: 'dns',
  mode: 'strict',
  refreshMs: 60_000,
  load: loadOf(endpoints),
  ...more,
})

/** TLS that asks for nothing and shows nothing. */
/** Nobody that is known, on this machine. */
export const LOCAL_CLIENT: ClientFacts = {
  peer: undefined,
  directRemoteIp: '127.0.0.1',
  remoteIp: '127.0.0.1',
  destinationIp: '127.0.0.1',
  destinationPort: 80,
  serverName: '',
}
export const ANY_TLS: UpstreamTls = {
  certificate: undefined,
  validation: undefined,
  alpnProtocols: [],
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  cipherSuites: [],
  sni: 'a',
  autoSni: false,
}
