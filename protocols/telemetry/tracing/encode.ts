/** Spans as collectors take them: Zipkin's JSON (v2), and OTLP's protobuf. Pure. */
import type { FinishedSpan } from '../../../model/http/tracing.ts'
import { MessageWriter } from '../../protobuf/message.ts'
import { decodeText, writeAttribute } from '../export/envelope.ts'

/** https://zipkin.io/zipkin-api: times in microseconds. */
export function encodeZipkinSpan(span: FinishedSpan, serviceName: string): Buffer {
  return Buffer.from(
    JSON.stringify({
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
    }),
  )
}

const SERVER = 2
const CLIENT = 3
const STATUS_ERROR = 2

/** opentelemetry.proto.trace.v1.Span, with the numbers of opentelemetry/proto/trace/v1/trace.proto. */
export function encodeOtlpSpan(span: FinishedSpan): Buffer {
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
  for (const [name, value] of span.tags) made.message(9, writeAttribute(name, decodeText(value)))
  if (span.isError) made.message(15, new MessageWriter().integer(3, STATUS_ERROR))
  return made.finish()
}
