/** Spans as collectors take them: Zipkin's JSON (v2), and OTLP's protobuf in a gRPC message. Pure. */
import type { FinishedSpan } from '../../../model/http/tracing.ts'

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
  const resource = field(1, attribute('service.name', serviceName))
  const scope = spans.map((span) => field(2, otlpSpan(span)))
  return frame(field(1, Buffer.concat([field(1, resource), field(2, Buffer.concat(scope))])))
}

const SERVER = 2
const CLIENT = 3
const STATUS_ERROR = 2

function otlpSpan(span: FinishedSpan): Buffer {
  const startNs = BigInt(Math.round(span.startedMs * 1_000)) * 1_000n
  return Buffer.concat([
    field(1, Buffer.from(span.traceId.padStart(32, '0'), 'hex')),
    field(2, Buffer.from(span.id, 'hex')),
    ...(span.state === undefined ? [] : [field(3, Buffer.from(span.state))]),
    ...(span.parentId === undefined ? [] : [field(4, Buffer.from(span.parentId, 'hex'))]),
    field(5, Buffer.from(decodeText(span.name))),
    number(6, span.kind === 'server' ? SERVER : CLIENT),
    fixed64(7, startNs),
    fixed64(8, startNs + BigInt(Math.round(span.durationMs * 1_000)) * 1_000n),
    ...span.tags.map(([name, value]) => field(9, attribute(name, decodeText(value)))),
    ...(span.isError ? [field(15, number(3, STATUS_ERROR))] : []),
  ])
}

/** KeyValue with a text. */
function attribute(name: string, value: string): Buffer {
  return Buffer.concat([field(1, Buffer.from(name)), field(2, field(1, Buffer.from(value)))])
}

/** A message of gRPC: not compressed, and its length. */
function frame(message: Buffer): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(message.length, 1)
  return Buffer.concat([head, message])
}

function varint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest & 0x7f) | 0x80)
  return Buffer.from([...bytes, rest])
}
function field(no: number, content: Buffer): Buffer {
  return Buffer.concat([varint(no * 8 + 2), varint(content.length), content])
}
function number(no: number, value: number): Buffer {
  return Buffer.concat([varint(no * 8), varint(value)])
}
function fixed64(no: number, value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(value)
  return Buffer.concat([varint(no * 8 + 1), bytes])
}

/** From bytes as latin1 characters, as headers have them. */
function decodeText(text: string): string {
  return Buffer.from(text, 'latin1').toString('utf8')
}
