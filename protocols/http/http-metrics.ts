import type { Cell, Family, Metrics } from '../../core/metrics.ts'
import type { Http2Event } from './h2/events.ts'
import type { Verdict } from './filters/ext-authz/verdict.ts'
import type { Listener } from '../../model/listener.ts'

type Direction = Listener['direction']

/** Counters of exchanges and their tries; hot paths hold the cells. */
export class HttpMetrics {
  readonly denied: Cell
  readonly tokenRefused: Cell
  readonly corsOrigins: Cells<'allowed' | 'refused'>
  readonly extAuthz: Cells<Verdict['kind']>
  readonly compressed: Cells<'request' | 'answer'>
  readonly refusedMessages: Cell
  readonly attempts: ReturnType<typeof attemptCells>
  readonly retries: ReturnType<typeof retryCells>
  readonly limits: ReturnType<typeof limitCells>
  /** Connections that were ended (GOAWAY with ENHANCE_YOUR_CALM), by what they sent too much of. */
  readonly floods: Readonly<Record<Http2Event, Cell>>
  /** Index = first digit of the status; 0 = no answer was given. */
  readonly #classes: Readonly<Record<Direction, readonly Cell[]>>
  readonly #failed: Family<'code'>

  constructor(metrics: Metrics) {
    this.tokenRefused = metrics
      .counter('mesh_http_token_refused_total', 'HTTP requests without a token that counts (RequestAuthentication).')
      .cell({})
    this.denied = metrics
      .counter('mesh_http_denied_total', 'HTTP requests that an authorization policy refused.')
      .cell({})
    this.corsOrigins = metrics
      .counter('mesh_http_cors_origins_total', 'Cross-origin requests that a CORS policy was asked about.', ['origin'])
      .cells(['allowed', 'refused'])
    this.extAuthz = metrics
      .counter('mesh_http_ext_authz_total', 'Requests that an authorization service was asked about (ext_authz).', [
        'result',
      ])
      .cells(['ok', 'denied', 'too-large', 'error', 'invalid'])
    this.compressed = metrics
      .counter('mesh_http_compressed_total', 'Bodies that the compressor filter compresses.', ['of'])
      .cells(['request', 'answer'])
    this.refusedMessages = metrics
      .counter('mesh_http_refused_messages_total', 'Requests that were no well-formed HTTP.')
      .cell({})
    this.attempts = attemptCells(metrics)
    this.retries = retryCells(metrics)
    this.limits = limitCells(metrics)
    this.floods = floodCells(metrics)
    const requests = metrics.counter(
      'mesh_http_requests_total',
      'HTTP exchanges, by direction and class of the answer.',
      ['direction', 'class'],
    )
    const classes = (direction: Direction): Cell[] =>
      ['none', '1xx', '2xx', '3xx', '4xx', '5xx'].map((c) => requests.cell({ direction, class: c }))
    this.#classes = { inbound: classes('inbound'), outbound: classes('outbound'), unspecified: classes('unspecified') }
    this.#failed = metrics.counter(
      'mesh_http_failed_total',
      'Exchanges that meshlet answered itself or broke off, by error code.',
      ['code'],
    )
  }

  /** @param status 0: the exchange ended without an answer */
  ended(direction: Direction, status: number): void {
    this.#classes[direction][Math.min(5, Math.floor(status / 100))]!.value++
  }
  failed(code: string): void {
    this.#failed.cell({ code }).value++
  }
}

type Cells<Name extends string> = Readonly<Record<Name, Cell>>

function attemptCells(metrics: Metrics): Cells<'answered' | 'failed' | 'timeout' | 'cancelled'> {
  return metrics
    .counter('mesh_upstream_attempts_total', 'Tries of HTTP requests at endpoints, by how they ended.', ['result'])
    .cells(['answered', 'failed', 'timeout', 'cancelled'])
}

function retryCells(metrics: Metrics): Cells<'sent' | 'heldBack' | 'budget'> {
  const retries = metrics.counter(
    'mesh_upstream_retries_total',
    'Tries after the first: sent, held back because the request may have arrived, or refused by the retry budget.',
    ['result'],
  )
  return {
    sent: retries.cell({ result: 'sent' }),
    heldBack: retries.cell({ result: 'held-back' }),
    budget: retries.cell({ result: 'budget' }),
  }
}

function limitCells(metrics: Metrics): Cells<'headerBytes' | 'replayBytes' | 'requestHeadMs' | 'idleMs'> {
  const limits = metrics.counter('mesh_http_limits_met_total', 'How often a limit of HTTP connections was met.', [
    'limit',
  ])
  return {
    headerBytes: limits.cell({ limit: 'maxHeaderBytes' }),
    replayBytes: limits.cell({ limit: 'maxReplayBytes' }),
    requestHeadMs: limits.cell({ limit: 'requestHeadMs' }),
    idleMs: limits.cell({ limit: 'idleMs' }),
  }
}

function floodCells(metrics: Metrics): Cells<Http2Event> {
  const flood = (frames: Http2Event): Cell => findFloodCell(metrics, frames)
  return {
    settings: flood('settings'),
    pings: flood('pings'),
    resets: flood('resets'),
    'empty frames': flood('empty frames'),
    'window updates': flood('window updates'),
    priorities: flood('priorities'),
    continuations: flood('continuations'),
    'unread answers': flood('unread answers'),
    'repeated fields': flood('repeated fields'),
  }
}

export function findFloodCell(metrics: Metrics, frames: Http2Event): Cell {
  return metrics
    .counter(
      'mesh_http2_floods_total',
      'HTTP/2 connections that were ended with ENHANCE_YOUR_CALM, by the frames that they sent too many of.',
      ['frames'],
    )
    .cell({ frames })
}
