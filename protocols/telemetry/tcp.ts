/**
 * Counts TCP connections: opened and ended when they are, their bytes whenever somebody asks, so that one that lasts for
 * weeks shows what it carries.
 */
import type { LogFacts } from '../../model/access-log/facts.ts'
import type { Cluster, Endpoint } from '../../model/cluster.ts'
import type { StatsFilter } from '../../model/telemetry.ts'
import type { Workload } from '../../model/access-log/workload.ts'
import type { Connection } from '../connection.ts'
import { deriveLabels, deriveValues, findService, NO_VALUES } from './labels.ts'
import { parseEndpointWorkload } from './peer.ts'
import type { IstioSeries, TcpCells } from './series.ts'

export type TcpEnds = {
  readonly filter: StatsFilter
  readonly cluster: Cluster | undefined
  readonly endpoint: Endpoint | undefined
  /** SPIFFE URIs; undefined without mutual TLS. */
  readonly ownPrincipal: string | undefined
  readonly peerPrincipal: string | undefined
  /** Envoy's flags, '-' = none. */
  readonly flags: string
  /** Asked for where the filter has expressions. */
  readonly facts: (peer: Workload | undefined) => LogFacts
}

/** `cells` undefined: who the peer is has not been said yet. */
type Open = { cells: TcpCells | undefined; sentBytes: number; receivedBytes: number }
/** `peerIs`: it has said who it is, or that it will not. Disposed of when the connection has ended. */
export type OpenConnection = Disposable & { peerIs(peer: Workload | undefined): void }

export class TcpConnections {
  readonly #own: Workload
  readonly #series: IstioSeries
  readonly #open = new Map<Connection, Open>()

  constructor(own: Workload, series: IstioSeries) {
    this.#own = own
    this.#series = series
  }

  /** @param awaitsPeer it counts as opened when the peer has said who it is, or when it ends, as in Istio */
  opened(conn: Connection, ends: TcpEnds, awaitsPeer = false): OpenConnection {
    const open: Open = { cells: undefined, sentBytes: 0, receivedBytes: 0 }
    const peerIs = (peer: Workload | undefined): void => {
      if (open.cells) return
      open.cells = this.#cells(conn, ends, peer)
      if (open.cells.opened) open.cells.opened.value++
    }
    if (!awaitsPeer) peerIs(undefined)
    this.#open.set(conn, open)
    return {
      peerIs,
      [Symbol.dispose]: () => {
        if (!this.#open.delete(conn)) return
        peerIs(undefined)
        count(conn, open)
        if (open.cells?.closed) open.cells.closed.value++
      },
    }
  }

  /** Bytes up to now. */
  update(): void {
    for (const [conn, open] of this.#open) count(conn, open)
  }

  #cells(conn: Connection, ends: TcpEnds, said: Workload | undefined): TcpCells {
    const { filter, cluster, endpoint, ownPrincipal, peerPrincipal, flags } = ends
    const reporter = conn.listener.direction === 'inbound' ? 'destination' : 'source'
    const peer =
      said ??
      (reporter === 'source' && endpoint?.workload !== undefined ? parseEndpointWorkload(endpoint.workload) : undefined)
    const service = findService(cluster, '', '')
    const labels = {
      ...deriveLabels({ reporter, own: this.#own, peer, ownPrincipal, peerPrincipal, service }),
      request_protocol: 'tcp',
      response_flags: flags,
    }
    const values = filter.expressions.length === 0 ? NO_VALUES : deriveValues(filter, ends.facts(peer))
    return this.#series.tcp(labels, filter, values) ?? this.#series.tcpOverflow(reporter, filter)
  }
}

function count(conn: Connection, open: Open): void {
  const { cells, sentBytes, receivedBytes } = open
  if (!cells) return
  if (cells.sentBytes) cells.sentBytes.value += conn.sentBytes - sentBytes
  if (cells.receivedBytes) cells.receivedBytes.value += conn.receivedBytes - receivedBytes
  open.sentBytes = conn.sentBytes
  open.receivedBytes = conn.receivedBytes
}
