/** Metadata exchange of TCP connections: says who we are on each side that asks, and learns who the peer is. */
import type { Cell } from '../../core/metrics.ts'
import { memoize } from '../../core/memoize.ts'
import { PEER_EXCHANGE } from '../../model/telemetry.ts'
import type { Workload } from '../../model/access-log/workload.ts'
import type { Connection } from '../connection.ts'
import type { Context } from '../context.ts'
import { PreambleReader } from '../telemetry/peer-preamble.ts'
import { getTelemetry } from '../telemetry/telemetry.ts'
import type { UpstreamStream } from '../upstream-api.ts'
import type { Preamble } from './splice.ts'

type ExchangeContext = Pick<Context, 'telemetry' | 'metrics'>

/** Whether the peer that metrics tell of will say who it is. */
export function isPeerExpected(conn: Connection, upstream: Pick<UpstreamStream, 'alpn'>): boolean {
  return isInbound(conn) ? conn.tls?.alpn === PEER_EXCHANGE : upstream.alpn === PEER_EXCHANGE
}

/** @param onPeer called once for the peer that metrics tell of */
export function startExchange(
  conn: Connection,
  upstream: UpstreamStream,
  ctx: ExchangeContext,
  onPeer: (peer: Workload | undefined) => void,
): { readonly nearPreamble?: Preamble; readonly farPreamble?: Preamble } {
  const begin = (stream: UpstreamStream['stream'], isCounted: boolean): Preamble => {
    stream.write(getTelemetry(ctx).preamble)
    return new CountedPreamble(getCounters(ctx), (peer) => {
      if (isCounted) onPeer(peer)
    })
  }
  return {
    ...(conn.tls?.alpn === PEER_EXCHANGE && { nearPreamble: begin(conn.stream, isInbound(conn)) }),
    ...(upstream.alpn === PEER_EXCHANGE && { farPreamble: begin(upstream.stream, !isInbound(conn)) }),
  }
}

const isInbound = ({ listener }: Connection): boolean => listener.direction === 'inbound'

type Counters = Readonly<Record<'read' | 'missing' | 'refused', Cell>>
const getCounters = memoize(({ metrics }: Pick<Context, 'metrics'>): Counters =>
  metrics
    .counter(
      'mesh_tcp_peer_exchange_total',
      'Connections whose peers had promised to say who they are (istio-peer-exchange): those that did, that did not, and that said too much.',
      ['result'],
    )
    .cells(['read', 'missing', 'refused']),
)

class CountedPreamble implements Preamble {
  readonly #counters: Counters
  readonly #reader: PreambleReader

  constructor(counters: Counters, onPeer: (peer: Workload | undefined) => void) {
    this.#counters = counters
    this.#reader = new PreambleReader((peer) => {
      counters[peer ? 'read' : 'missing'].value++
      onPeer(peer)
    })
  }
  take(chunk: Buffer): Buffer | string {
    const rest = this.#reader.take(chunk)
    if (typeof rest === 'string') this.#counters.refused.value++
    return rest
  }
  end(): Buffer {
    return this.#reader.end()
  }
}
