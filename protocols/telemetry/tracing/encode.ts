/** Spans as collectors take them: Zipkin's JSON (v2), and OTLP's protobuf in a gRPC message. Pure. */
import type { FinishedSpan } from '../../../model/http/tracing.ts'
import { frameGrpc, MessageWriter } from '../../protobuf/message.ts'

/** https://zipkin.io/zipkin-api: times in microseconds. */
export function encodeZipkin(spans: readonly FinishedSpan[], serviceName: string): Buffer {
  return Buffer.from(
    JSON.stringify(
      spans.map((span) => ({
        traceId: span.traceId,
        id: span.id,
        ...(span.parentId !== undefined && { parentId: span.parentId }),
        name: decodeText(span.name),
        kind: span.kind === 'server' ? 'SERVER' : 'CLIENT',
        timestamp: Math.round(span.startedMs * 1_000),
        duration: Math.max(1, Math.round(span.durationMs * 1_000)),
        ...(span.isShared && { shared: true }),
        localEndpoint: {
          serviceName,
          [span.local.host.includes(':') ? 'ipv6' : 'ipv4']: span.local.host,
          port: span.local.port,
        },
        tags: Object.fromEntries(span.tags.map(([name, value]) => [name, decodeText(value)])),
      })),
    ),
  )
}

/**
 * opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest with one resource; the numbers are those of
 * opentelemetry/proto/trace/v1/trace.proto and its kin.
 */
export function encodeOtlpSpans(spans: readonly FinishedSpan[], serviceName: string): Buffer {
  const resource = new MessageWriter().message(1, attribute('service.name', serviceName))
  const scope = new MessageWriter()
  for (const span of spans) scope.message(2, otlpSpan(span))
  const ofResource = new MessageWriter().message(1, resource).message(2, scope)
  return frameGrpc(new MessageWriter().message(1, ofResource).finish())
}

const SERVER = 2
const CLIENT = 3
const STATUS_ERROR = 2

function otlpSpan(span: FinishedSpan): MessageWriter {
  const startNs = BigInt(Math.round(span.startedMs * 1_000)) * 1_000n
  const made = new MessageWriter()
    .bytes(1, Buffer.from(span.traceId.padStart(32, '0'), 'hex'))
    .bytes(2, Buffer.from(span.id, 'hex'))
    .text(3, span.state ?? '')
    .text(5, decodeText(span.name))
    .integer(6, span.kind === 'server' ? SERVER : CLIENT)
    .fixed64(7, startNs)
    .fixed64(8, startNs + BigInt(Math.round(span.durationMs * 1_000)) * 1_000n)
  if (span.parentId !== undefined) made.bytes(4, Buffer.from(span.parentId, 'hex'))
  for (const [name, value] of span.tags) made.message(9, attribute(name, decodeText(value)))
  return span.isError ? made.message(15, new MessageWriter().integer(3, STATUS_ERROR)) : made
}

/** KeyValue with a text, which stands there also where it is empty: it is a member of a oneof. */
function attribute(name: string, value: string): MessageWriter {
  return new MessageWriter().text(1, name).message(2, new MessageWriter().bytes(1, Buffer.from(value)))
}

/** From bytes as latin1 characters, as headers have them. */
function decodeText(text: string): string {
  return Buffer.from(text, 'latin1').toString('utf8')
}
