/** A host that answers a request, or grpc.health.v1.Health/Check, as it should. */
import { MeshError } from '../../../core/errors.ts'
import { guard } from '../../../core/defects/guard.ts'
import type { Cluster, Endpoint } from '../../../model/cluster.ts'
import type { GrpcAsk, HealthCheck, HttpAsk, StatusRange } from '../../../model/http/health-check.ts'
import { matchesString } from '../../../model/matcher.ts'
import type { SubstitutionFacts } from '../../../model/substitution.ts'
import { editHeaders, findFirstValue } from '../../http/filters/header-edit.ts'
import { OwnCall, type OwnAnswer, type OwnCallEnd, type OwnRequest } from '../../http/own-call.ts'
import { Host } from '../host.ts'
import { HostPool, type PoolOwner } from '../pool.ts'
import { containsInOrder, createFailure, PASSED, USER_AGENT, type Asker } from './ask.ts'
import { readServingStatus, SERVING, writeHealthRequest } from './grpc-health.ts'
import type { Verdict } from './progress.ts'

export type HttpChecked = HealthCheck & { readonly asks: HttpAsk | GrpcAsk }
/** With a cluster as it is asked (ask.ts). */
export type AskedOver = Omit<PoolOwner, 'answered'>

/** Asks over connections of its own, which count nowhere. */
export class HttpAsker implements Asker {
  readonly #owner: AskedOver
  readonly #endpoint: Endpoint
  readonly #check: HttpChecked
  #pool: HostPool | undefined

  /** @param endpoint as it is asked */
  constructor(owner: AskedOver, endpoint: Endpoint, check: HttpChecked) {
    this.#owner = owner
    this.#endpoint = endpoint
    this.#check = check
  }

  async ask(signal: AbortSignal): Promise<Verdict> {
    const { asks } = this.#check
    let isAnswered = false
    try {
      const answer = await this.#call(signal, 'pooled')
      isAnswered = true
      return asks.kind === 'grpc' ? decideGrpc(answer) : decideHttp(answer, asks)
    } finally {
      if (!isAnswered || !this.#check.reusesConnection) this[Symbol.dispose]()
    }
  }
  [Symbol.dispose](): void {
    this.#pool?.destroy()
    this.#pool = undefined
  }

  #call(signal: AbortSignal, connection: 'pooled' | 'fresh'): Promise<OwnAnswer> {
    const { asks } = this.#check
    const { cluster, ctx } = this.#owner
    const authority = deriveAuthority(cluster, this.#endpoint, asks)
    const speaks = cluster.protocol === 'http2' ? 'http2' : 'http1'
    const pool = (this.#pool ??= new HostPool(this.#owner, new Host(this.#endpoint), { speaks, host: authority }, ''))
    return new Promise((resolve, reject) => {
      const over = new AbortController()
      const onOver = (end: OwnCallEnd): void => {
        over.abort()
        if (end.kind === 'answered') resolve(end.answer)
        // What was closed while it was idle says nothing of the host.
        else if (end.kind === 'failed' && end.mayRepeat && connection === 'pooled')
          this.#call(signal, 'fresh').then(resolve, reject)
        else reject(end.kind === 'failed' ? end.error : new MeshError('MESH_PROBE_FAILED', `no answer: ${end.kind}`))
      }
      const options = { speaks, fresh: connection === 'fresh', host: authority, maxHostPicks: 0 } as const
      const keeps = asks.kind === 'grpc' ? MAX_GRPC_BYTES : asks.receive.length > 0 ? asks.maxBodyBytes : 0
      const bounds = { maxAnswerBytes: Infinity, keepsAnswer: keeps > 0, maxKeptBytes: keeps }
      const call = new OwnCall(
        '',
        this.#request(authority),
        { ...options, originalDst: undefined, ...bounds },
        { onOver },
      )
      signal.addEventListener(
        'abort',
        guard('health', reject, () => {
          call.cancel()
          reject(signal.reason)
        }),
        { once: true, signal: over.signal },
      )
      call.start({ startCall: (_cluster, o, events) => pool.start(events, o) }, ctx.clock, cluster)
    })
  }

  #request(authority: string): OwnRequest {
    const { asks } = this.#check
    const { cluster, ctx } = this.#owner
    const body = asks.kind === 'grpc' ? writeHealthRequest(asks.service) : Buffer.from(asks.body)
    const headers =
      asks.kind === 'grpc'
        ? ['content-type', 'application/grpc', 'te', 'trailers', 'user-agent', USER_AGENT]
        : ['user-agent', USER_AGENT]
    const [method, path] = asks.kind === 'grpc' ? ['POST', '/grpc.health.v1.Health/Check'] : [asks.method, asks.path]
    editHeaders(headers, [asks.headers], deriveFacts(this.#endpoint, cluster, ctx.clock.wallMs()))
    return {
      head: {
        method,
        scheme: cluster.transport.kind === 'tls' ? 'https' : 'http',
        authority,
        path,
        headers,
        bodyLength: body.length,
        maybeTrailers: false,
        upgrade: undefined,
      },
      body: body.length > 0 ? [body] : [],
    }
  }
}
/** The answer of a health service has seven bytes. */
const MAX_GRPC_BYTES = 1024

/** The endpoint's own name, else the check's, else the cluster's. */
function deriveAuthority({ name }: Cluster, { check }: Endpoint, asks: HttpAsk | GrpcAsk): string {
  const host = asks.kind === 'grpc' ? asks.authority : asks.host
  return check?.hostname ?? (host || name)
}

/** A request of nobody, so that most of what header values may name is nothing. */
function deriveFacts({ address, port }: Endpoint, { name }: Cluster, startedMs: number): SubstitutionFacts {
  const here = { host: address, port }
  return {
    client: here,
    remote: here,
    local: here,
    protocol: 'HTTP/1.1',
    startedMs,
    serverName: '',
    routeName: '',
    cluster: name,
    status: 0,
    peer: undefined,
    request: () => undefined,
  }
}

const includes = (ranges: readonly StatusRange[], status: number): boolean =>
  ranges.some(({ start, end }) => status >= start && status < end)

export function decideHttp({ head, bytes }: OwnAnswer, asks: HttpAsk): Verdict {
  const has = (name: string): boolean => findFirstValue(head.headers, name) !== undefined
  if (!includes(asks.expected, head.status))
    return createFailure(`the status is ${head.status}`, {
      isRetriable: includes(asks.retriable, head.status),
      excludes: has('x-envoy-immediate-health-check-fail'),
    })
  if (!containsInOrder(bytes, asks.receive)) return createFailure('the body is not the expected one')
  const said = findFirstValue(head.headers, 'x-envoy-upstream-healthchecked-cluster') ?? ''
  if (asks.serviceName && !matchesString(asks.serviceName, said)) return createFailure('another service answered')
  return has('x-envoy-degraded') ? { kind: 'passed', isDegraded: true } : PASSED
}

export function decideGrpc({ head, bytes, trailers }: OwnAnswer): Verdict {
  if (head.status !== 200) return createFailure(`the HTTP status is ${head.status}`)
  const status = findFirstValue(trailers ?? [], 'grpc-status') ?? findFirstValue(head.headers, 'grpc-status')
  if (status !== '0') return createFailure(`the gRPC status is ${status ?? 'missing'}`)
  const serving = readServingStatus(bytes)
  return serving === SERVING ? PASSED : createFailure(`the service says ${serving}`)
}
