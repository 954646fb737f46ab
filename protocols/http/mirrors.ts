/**
 * Copies of requests for other clusters (request_mirror_policies). They are sent when the request has come as a whole,
 * and nobody waits for them or hears of their answers. As in Envoy's buffered mirroring, a body above the bound is not
 * mirrored; bodies count against the memory budget and are the first to go.
 */
import type { MeshError } from '../../core/errors.ts'
import type { Cell, Metrics } from '../../core/metrics.ts'
import { Tally, takeLease, type Lease } from '../../core/lease.ts'
import { memoize } from '../../core/memoize.ts'
import type { Random } from '../../core/os/clock.ts'
import type { Cluster } from '../../model/cluster.ts'
import type { MirrorPolicy } from '../../model/route.ts'
import type { Tables } from '../../model/tables.ts'
import { findFirstHeader, type RequestFacts } from '../router.ts'
import type { Hold, Holder } from '../waiting.ts'
import { HoldingBlock } from './holding-block.ts'
import type { CallOptions, RequestHead, UpstreamRequest } from './message.ts'
import { OwnCall, type OwnRequest } from './own-call.ts'
import type { HttpRuntime } from './runtime.ts'

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
  readonly #block = new HoldingBlock()
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
    // What comes byte by byte would take hundreds of bytes for each.
    this.#block.add(this.#chunks, chunk)
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
      const own = body.length === 0 && !trailers ? { bodyLength: 0 } : {}
      const head = { ...request, headers: [...request.headers], authority, ...own }
      new Mirrored(this.client, this.#rt, this.#counts).start({ head, body, trailers }, bytes, cluster, this.#options)
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

/** Its body counts until it is over: an endpoint may not take it. */
class Mirrored implements Holder {
  readonly client: string
  readonly what = 'replay-copy'
  readonly #rt: HttpRuntime
  readonly #cells: Counts['cells']
  readonly #lease: Lease
  readonly #hold: Hold
  #call: OwnCall | undefined
  #isOver = false

  constructor(client: string, rt: HttpRuntime, { under, cells }: Counts) {
    this.client = client
    this.#rt = rt
    this.#cells = cells
    this.#lease = takeLease(under)
    this.#hold = rt.waiting.hold(this)
  }

  start(request: OwnRequest, bytes: number, cluster: Cluster, { speaks, timeoutMs }: Options): void {
    this.#hold.set(bytes)
    // There was no room for it.
    if (this.#isOver) return
    const host = request.head.authority
    const options = { speaks, fresh: false, host, maxHostPicks: 0, timeoutMs, ...ANY_ANSWER }
    const call = new OwnCall(this.client, request, options, {
      onSent: () => {
        this.#cells.sent.value++
      },
      // Of a cluster that is another one now, nobody misses the copy.
      onOver: ({ kind }) => this.#end(kind === 'answered' ? 'answered' : 'failed'),
    })
    this.#call = call
    call.start(this.#rt.upstreams, this.#rt.ctx.clock, cluster)
  }

  giveUp(): void {
    this.#call?.cancel()
    this.#end('failed')
  }
  #end(result: 'answered' | 'failed'): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#cells[result].value++
    this.#hold.set(0)
    this.#lease[Symbol.dispose]()
  }
}
/** Nobody looks at it. */
const ANY_ANSWER = { maxAnswerBytes: Infinity, keepsAnswer: false }

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
