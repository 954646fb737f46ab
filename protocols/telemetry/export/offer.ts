/** One request to a collector: what it says of it. */
import type { Cluster } from '../../../model/cluster.ts'
import type { Collector } from '../../../model/access-log/collector.ts'

export type Post = (
  cluster: Cluster,
  request: {
    readonly authority: string
    readonly path: string
    /** Flat, lower-case names. */
    readonly headers: readonly string[]
    readonly body: Buffer
    readonly speaks: 'http1' | 'http2'
    readonly timeoutMs?: number | undefined
  },
) => Promise<{ readonly status: number; readonly grpcStatus: string | undefined }>

/** Rejects where it may be offered again. */
export async function sendBatch(
  post: Post,
  cluster: Cluster,
  collector: Collector,
  body: Buffer,
): Promise<'sent' | 'refused'> {
  const { authority, path, headers, timeoutMs, speaks } = collector
  const isGrpc = speaks === 'grpc'
  const answer = await post(cluster, {
    authority,
    path,
    headers: [...typeOf(collector), ...headers],
    body,
    speaks: isGrpc ? 'http2' : 'http1',
    timeoutMs,
  })
  const verdict = isGrpc ? decideGrpc(answer) : decideHttp(answer.status, collector)
  if (verdict !== 'again') return verdict
  const { status, grpcStatus } = answer
  throw new Error(
    `the collector answered with ${status}${isGrpc ? ` and gRPC status ${grpcStatus?.slice(0, 16) ?? '(none)'}` : ''}`,
  )
}

function typeOf({ speaks, envelope }: Collector): readonly string[] {
  if (speaks === 'grpc') return ['content-type', 'application/grpc', 'te', 'trailers']
  return ['content-type', envelope.kind === 'zipkin' ? 'application/json' : 'application/x-protobuf']
}

/** OTLP "Failures": codes of gRPC that may be tried again. */
const GRPC_AGAIN: ReadonlySet<string> = new Set(['1', '4', '8', '10', '11', '14', '15'])

function decideGrpc({ status, grpcStatus }: Awaited<ReturnType<Post>>): 'sent' | 'refused' | 'again' {
  if (status !== 200) return mayComeAgain(status) ? 'again' : 'refused'
  if (grpcStatus === '0') return 'sent'
  return grpcStatus === undefined || GRPC_AGAIN.has(grpcStatus) ? 'again' : 'refused'
}

/** OTLP/HTTP "Retryable Response Codes". */
const OTLP_AGAIN: ReadonlySet<number> = new Set([429, 502, 503, 504])

function decideHttp(status: number, { envelope }: Collector): 'sent' | 'refused' | 'again' {
  if (status >= 200 && status < 300) return 'sent'
  return (envelope.kind === 'otlp' ? OTLP_AGAIN.has(status) : mayComeAgain(status)) ? 'again' : 'refused'
}

function mayComeAgain(status: number): boolean {
  return status < 400 || status >= 500 || status === 408 || status === 429
}
