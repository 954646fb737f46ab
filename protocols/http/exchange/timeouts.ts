/**
 * The times that end an exchange or one of its tries, as one deadline (Envoy's route, per-try and stream duration
 * timeouts).
 */
import type { Clock } from '../../../core/os/clock.ts'
import { MeshError } from '../../../core/errors.ts'
import type { HttpConnectionManager } from '../../../model/listener.ts'
import type { ForwardAction, GrpcTimeout } from '../../../model/route.ts'
import { isGrpc, type RequestFacts } from '../../router.ts'
import type { Deadline, Deadlines } from '../../deadlines.ts'

/**
 * Milliseconds. `stream`: from the request's first byte. `route`: from its last. `perTry`: of one try, from then or
 * from its connection.
 */
export type Times = {
  readonly stream: number | undefined
  readonly route: number | undefined
  readonly perTry: number | undefined
}

/** @returns undefined in the usual case that nothing is limited */
export function deriveTimes(
  action: ForwardAction,
  perTry: number | undefined,
  http: Pick<HttpConnectionManager, 'maxStreamMs'>,
  request: Pick<RequestFacts, 'header'>,
): Times | undefined {
  const { grpcTimeout } = action
  const asked = grpcTimeout && parseCallerTimeoutMs(request.header('grpc-timeout'))
  const ofStream = action.maxStreamMs ?? http.maxStreamMs
  // A caller's own deadline comes first, where the route lets it.
  const stream =
    grpcTimeout?.of === 'stream' && asked !== undefined ? bounded(asked, grpcTimeout) : ofStream || undefined
  const byCaller = grpcTimeout?.of === 'route' && isGrpc(request.header('content-type'))
  const route = byCaller ? bounded(asked ?? Infinity, grpcTimeout) : action.timeoutMs
  return stream === undefined && route === undefined && perTry === undefined ? undefined : { stream, route, perTry }
}

function bounded(askedMs: number, { maxMs, offsetMs }: GrpcTimeout): number | undefined {
  const ms = maxMs === 0 ? askedMs : Math.min(askedMs, maxMs)
  return ms === Infinity ? undefined : Math.max(0, ms - offsetMs)
}

const UNITS_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 0.001, n: 0.000_001 }

/** gRPC over HTTP/2, Timeout: at most eight digits and a unit. @returns milliseconds; undefined for anything else */
export function parseCallerTimeoutMs(text: string | undefined): number | undefined {
  const [, digits, unit] = /^(\d{1,8})([HMSmun])$/.exec(text ?? '') ?? []
  return digits === undefined ? undefined : Math.ceil(Number(digits) * UNITS_MS[unit!]!)
}

export type DueKind = 'stream' | 'route' | 'try'
export interface Timed {
  onTimeout(kind: DueKind, error: MeshError): void
  abort(error: MeshError): void
}

export class Timeouts implements Deadline {
  dueMs = Infinity
  readonly times: Times
  readonly #deadlines: Deadlines
  readonly #clock: Clock
  readonly #owner: Timed
  #streamMs = Infinity
  #routeMs = Infinity
  #tryMs = Infinity

  /** @param startedMs monotonic, of the exchange */
  constructor(times: Times, startedMs: number, deadlines: Deadlines, clock: Clock, owner: Timed) {
    this.times = times
    this.#deadlines = deadlines
    this.#clock = clock
    this.#owner = owner
    if (times.stream !== undefined) this.#streamMs = startedMs + times.stream
    deadlines.add(this)
    this.#arm()
  }

  /** The request is complete. */
  requestDone(): void {
    if (this.times.route === undefined) return
    this.#routeMs = this.#clock.monotonicMs() + this.times.route
    this.#arm()
  }
  tryBegins(): void {
    if (this.times.perTry === undefined) return
    this.#tryMs = this.#clock.monotonicMs() + this.times.perTry
    this.#arm()
  }
  tryEnds(): void {
    if (this.#tryMs === Infinity) return
    this.#tryMs = Infinity
    this.#arm()
  }
  /** From here only the stream's own time counts: a tunnel has no answer to wait for. */
  onlyStream(): void {
    this.#routeMs = Infinity
    this.#tryMs = Infinity
    this.#arm()
  }
  end(): void {
    this.#deadlines.delete(this)
  }

  onDue(): void {
    const now = this.#clock.monotonicMs()
    const { stream, route, perTry } = this.times
    if (now >= this.#streamMs)
      this.#owner.onTimeout(
        'stream',
        new MeshError('MESH_STREAM_DURATION', `not over within ${stream} ms (max_stream_duration)`),
      )
    else if (now >= this.#routeMs)
      this.#owner.onTimeout(
        'route',
        new MeshError('MESH_UPSTREAM_TIMEOUT', `no complete answer within ${route} ms (route timeout)`),
      )
    else if (now >= this.#tryMs) {
      this.#tryMs = Infinity
      this.#arm()
      this.#owner.onTimeout(
        'try',
        new MeshError('MESH_UPSTREAM_TIMEOUT', `no answer within ${perTry} ms (per-try timeout)`),
      )
    } else this.#arm()
  }

  broken(error: MeshError): void {
    this.#owner.abort(error)
  }

  #arm(): void {
    this.#deadlines.arm(this, Math.min(this.#streamMs, this.#routeMs, this.#tryMs))
  }
}
