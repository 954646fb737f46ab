/**
 * Copies of requests for other clusters (request_mirror_policies). They are sent when the request has come as a whole,
 * and nobody waits for them or hears of their answers. As in Envoy's buffered mirroring, a body above the bound is not
 * mirrored; bodies count against the memory budget and are the first to go.
 */
import type { MeshError } from '../../core/errors.ts'
import type { Cell, Metrics } from '../../core/metrics.ts'
import { doNothing, guard } from '../../core/defects/guard.ts'
import { Tally, takeLease, type Lease } from '../../core/lease.ts'
import { memoize } from '../../core/memoize.ts'
import type { Random, Timer } from '../../core/os/clock.ts'
import type { Cluster } from '../../model/cluster.ts'
import type { MirrorPolicy } from '../../model/route.ts'
import type { Tables } from '../../model/tables.ts'
import { findFirstHeader, type RequestFacts } from '../router.ts'
import type { Hold, Holder } from '../waiting.ts'
import type {
  CallEvents,
  CallOptions,
  HttpCall,
  PendingCall,
  RequestHead,
  ResponseHead,
  UpstreamRequest,
} from './message.ts'
import type { HttpRuntime } from './runtime.ts'
import type { Duplex } from 'node:stream'

/** Copies under way at once, of all listeners. */
const MAX_MIRRORED = 256
/** Where the route has no timeout. */
const TIMEOUT_MS = 15_000

export type MirrorTarget = { readonly cluster: Cluster; readonly keepsHost: boolean }

type Times = { readonly timeoutMs: number | undefined }
type Options = Pick<CallOptions, 'speaks'> & { readonly timeoutMs: number }
type Result = 'sent' | 'answered' | 'failed' | 'too-large' | 'too-many' | 'unfinished'
type Counts = { readonly under: Tally; readonly cells: Readonly<Record<Result, Cell>> }
const countsOf = memoize((metrics: Metrics): Counts => ({
  under: new Tally(),
  cells: metrics
    .counter(
      'mesh_http_mirrored_total',
      'Copies of requests (request_mirror_policies): sent, answered, failed, or not made because the body is too large, too many are under way or the request never came as a whole.',
      ['result'],
    )
    .cells(['sent', 'answered', 'failed', 'too-large', 'too-many', 'unfinished']),
}))

/** The copies of one request. */
export class Mirrors implements Holder {
  readonly client: string
  readonly what = 'replay-copy'
  readonly #rt: HttpRuntime
  readonly #targets: readonly MirrorTarget[]
  readonly #counts: Counts
  readonly #options: Options
  #chunks: Buffer[] | undefined = []
  #bytes = 0
  #hold: Hold | undefined

  constructor(
    rt: HttpRuntime,
    from: { readonly source: string; readonly request: Pick<RequestHead, 'version'> },
    { mirrors = [], action }: { readonly mirrors?: readonly MirrorTarget[] | undefined; readonly action: Times },
  ) {
    this.client = from.source
    this.#rt = rt
    this.#targets = mirrors
    this.#options = {
      speaks: from.request.version === 'HTTP/2' ? 'http2' : 'http1',
      timeoutMs: action.timeoutMs ?? TIMEOUT_MS,
    }
    this.#counts = countsOf(rt.ctx.metrics)
  }

  add(chunk: Buffer): void {
    if (!this.#chunks) return
    this.#bytes += chunk.length
    if (this.#bytes > this.#rt.ctx.limits.maxReplayBytes) {
      this.#drop('too-large')
      return
    }
    this.#chunks.push(chunk)
    ;(this.#hold ??= this.#rt.waiting.hold(this)).set(this.#bytes)
  }

  /** The request has come as a whole. @param request as the endpoint gets it */
  send(request: UpstreamRequest, trailers: readonly string[] | undefined): void {
    const body = this.#chunks
    if (!body) return
    const bytes = this.#bytes
    this.#forget()
    for (const { cluster, keepsHost } of this.#targets) {
      if (this.#counts.under.now >= MAX_MIRRORED) {
        this.#counts.cells['too-many'].value++
        continue
      }
      const authority = keepsHost ? request.authority : nameShadow(request.authority)
      const copy = { ...request, headers: [...request.headers], authority }
      const call = new MirrorCall(this.#counts, { request: copy, body, bytes, trailers }, this.client)
      call.start(this.#rt, cluster, this.#options)
    }
  }

  /** The request ended before it had come as a whole. */
  drop(): void {
    this.#drop('unfinished')
  }
  giveUp(_error: MeshError): void {
    this.#drop('too-large')
  }
  #drop(why: Result): void {
    if (!this.#chunks) return
    this.#counts.cells[why].value += this.#targets.length
    this.#forget()
  }
  #forget(): void {
    this.#chunks = undefined
    this.#hold?.set(0)
  }
}

type Copy = {
  readonly request: UpstreamRequest
  readonly body: readonly Buffer[]
  readonly bytes: number
  readonly trailers: readonly string[] | undefined
}

/** Its body counts until it is over: an endpoint may not take it. */
class MirrorCall implements CallEvents, Holder {
  readonly source: string
  readonly what = 'replay-copy'
  readonly #cells: Counts['cells']
  readonly #lease: Lease
  #copy: Copy | undefined
  #hold: Hold | undefined
  #timer: Timer | undefined
  #pending: PendingCall | undefined
  #call: HttpCall | undefined
  #isOver = false

  constructor({ under, cells }: Counts, copy: Copy, source: string) {
    this.source = source
    this.#cells = cells
    this.#copy = copy
    this.#lease = takeLease(under)
  }

  get client(): string {
    return this.source
  }

  start({ ctx, upstreams, waiting }: HttpRuntime, cluster: Cluster, { speaks, timeoutMs }: Options): void {
    this.#hold = waiting.hold(this)
    this.#hold.set(this.#copy!.bytes)
    // There was no room for it.
    if (this.#isOver) return
    this.#timer = ctx.clock.after(
      timeoutMs,
      guard('exchange', doNothing, () => this.giveUp()),
    )
    const host = this.#copy!.request.authority
    const options = { source: this.source, speaks, fresh: false, host, maxHostPicks: 0 }
    const pending = upstreams.startCall(cluster, options, this)
    // The call may have been opened, and may have failed, before startCall returned.
    if (!this.#isOver && !this.#call) this.#pending = pending
  }

  onCallPicked(): void {}
  /** Its cluster is another one now; nobody misses the copy. */
  onCallMoved(): void {
    this.#end('failed')
  }
  onCall(call: HttpCall): void {
    this.#pending = undefined
    this.#call = call
    const { request, body, trailers } = this.#copy!
    this.#copy = undefined
    const isBodiless = body.length === 0 && !trailers
    call.sendHead(isBodiless ? { ...request, bodyLength: 0 } : request, isBodiless)
    for (const chunk of body) call.sendData(chunk)
    if (!isBodiless) call.sendEnd(trailers)
    this.#cells.sent.value++
    call.flush()
  }
  onCallInformational(): void {}
  onCallHead(): void {}
  onCallData(): void {}
  onCallEnd(): void {
    this.#end('answered')
  }
  onCallPause(): void {}
  onCallDrained(): void {}
  onCallUpgraded(_head: ResponseHead, stream: Duplex): void {
    stream.destroy()
    this.#end('failed')
  }
  onCallFailed(): void {
    this.#end('failed')
  }

  giveUp(): void {
    const [pending, call] = [this.#pending, this.#call]
    this.#end('failed')
    call?.cancel()
    pending?.cancel()
  }
  #end(result: 'answered' | 'failed'): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#cells[result].value++
    this.#copy = undefined
    this.#pending = undefined
    this.#call = undefined
    this.#timer?.cancel()
    this.#hold?.set(0)
    this.#lease[Symbol.dispose]()
  }
}

/** Envoy's suffix, before the port. */
export function nameShadow(authority: string): string {
  const port = /:\d+$/.exec(authority)
  return port ? `${authority.slice(0, port.index)}-shadow${port[0]}` : `${authority}-shadow`
}

/** Not of an upgrade, whose two sides talk to each other. A cluster that is not there gets none, as in Envoy. */
export function chooseMirrors(
  policies: readonly MirrorPolicy[] | undefined,
  {
    tables,
    request,
    random,
    upgrade,
  }: {
    readonly tables: Tables
    readonly request: RequestFacts
    readonly random: Random
    readonly upgrade: string | undefined
  },
): readonly MirrorTarget[] | undefined {
  if (!policies || upgrade !== undefined || request.method === 'CONNECT') return undefined
  const targets = policies.flatMap(({ cluster: by, fraction, keepsHost }): MirrorTarget[] => {
    if (fraction < 1 && random.float() >= fraction) return []
    const cluster = tables.cluster('name' in by ? by.name : (findFirstHeader(request, by.header) ?? ''))
    return cluster ? [{ cluster, keepsHost }] : []
  })
  return targets.length > 0 ? targets : undefined
}
