/**
 * Access logs whose entries go to a collector: envoy.access_loggers.open_telemetry, http_grpc and tcp_grpc. Throws
 * LeftOut.
 */
import type { Any } from '@bufbuild/protobuf/wkt'
import type { AccessLog } from '../../../model/access-log/access-log.ts'
import type { EntryFormat, EntryValue } from '../../../model/access-log/entry.ts'
import type { Collector, Envelope } from '../../../model/access-log/collector.ts'
import {
  CommonGrpcAccessLogConfigSchema,
  HttpGrpcAccessLogConfigSchema,
  TcpGrpcAccessLogConfigSchema,
  type CommonGrpcAccessLogConfig,
} from '../../../proto/gen/envoy/extensions/access_loggers/grpc/v3/als_pb.ts'
import {
  OpenTelemetryAccessLogConfigSchema,
  type OpenTelemetryAccessLogConfig,
} from '../../../proto/gen/envoy/extensions/access_loggers/open_telemetry/v3/logs_service_pb.ts'
import type { AnyValue, KeyValueList } from '../../../proto/gen/opentelemetry/proto/common/v1/common_pb.ts'
import { unpack } from '../fields/any.ts'
import { noteIgnored, type DecodePath } from '../fields/decode-path.ts'
import { decodeMs } from '../fields/values.ts'
import { decodeGrpcCollector, decodeHttpCollector } from './collector.ts'
import { decodeTextFormat, LeftOut } from './log-format.ts'

/** Envoy's. */
const FLUSH_MS = 1_000
const BATCH_BYTES = 16_384
const MAX_DEPTH = 16
const ALS_PATH = '/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs'
const OTLP_PATH = '/opentelemetry.proto.collector.logs.v1.LogsService/Export'

/** @returns undefined for a log of another type */
export function decodeEntryLog(at: DecodePath, any: Any | undefined): AccessLog | undefined {
  const otlp = unpack(at, any, OpenTelemetryAccessLogConfigSchema)
  if (otlp) {
    noteIgnored(at, OpenTelemetryAccessLogConfigSchema, otlp)
    return { collector: otlpCollector(at, otlp), entry: otlpFormat(otlp) }
  }
  const http = unpack(at, any, HttpGrpcAccessLogConfigSchema)
  if (http) {
    noteIgnored(at, HttpGrpcAccessLogConfigSchema, http)
    return alsOf(at, http.commonConfig, {
      kind: 'http',
      requestHeaders: lowerCase(http.additionalRequestHeadersToLog),
      responseHeaders: lowerCase(http.additionalResponseHeadersToLog),
      responseTrailers: lowerCase(http.additionalResponseTrailersToLog),
    })
  }
  const tcp = unpack(at, any, TcpGrpcAccessLogConfigSchema)
  if (!tcp) return undefined
  noteIgnored(at, TcpGrpcAccessLogConfigSchema, tcp)
  return alsOf(at, tcp.commonConfig, { kind: 'tcp' })
}

const lowerCase = (names: readonly string[]): readonly string[] => names.map((name) => name.toLowerCase())

function alsOf(
  at: DecodePath,
  common: CommonGrpcAccessLogConfig | undefined,
  entry: Extract<EntryFormat, { kind: 'http' | 'tcp' }>,
): AccessLog {
  const here = at.in('common_config')
  if (common) noteIgnored(here, CommonGrpcAccessLogConfigSchema, common)
  const envelope: Envelope = { kind: 'als', logName: common?.logName ?? '', of: entry.kind }
  const to = decodeGrpcCollector(here.in('grpc_service'), common?.grpcService, ALS_PATH, envelope)
  if (!common || !to) throw new LeftOut('its service is no cluster')
  return { collector: { ...to, ...batchingOf(here, common) }, entry }
}

function batchingOf(
  at: DecodePath,
  from: Pick<OpenTelemetryAccessLogConfig, 'bufferFlushInterval' | 'bufferSizeBytes'>,
): Pick<Collector, 'flushMs' | 'batchBytes'> {
  return {
    flushMs: decodeMs(at.in('buffer_flush_interval'), from.bufferFlushInterval) || FLUSH_MS,
    // 0: each entry goes at once.
    batchBytes: Math.max(1, from.bufferSizeBytes ?? BATCH_BYTES),
  }
}

function otlpCollector(at: DecodePath, from: OpenTelemetryAccessLogConfig): Collector {
  const { commonConfig: common, grpcService, httpService } = from
  const here = at.in('common_config')
  if (common) noteIgnored(here, CommonGrpcAccessLogConfigSchema, common)
  const logName = from.logName || (common?.logName ?? '')
  const envelope: Envelope = {
    kind: 'otlp',
    of: 'logs',
    resource: resourceOf(at.in('resource_attributes'), from.resourceAttributes),
    ...(!from.disableBuiltinLabels && { builtin: { logName } }),
  }
  const to = httpService
    ? decodeHttpCollector(at.in('http_service'), httpService, envelope)
    : grpcService
      ? decodeGrpcCollector(at.in('grpc_service'), grpcService, OTLP_PATH, envelope)
      : decodeGrpcCollector(here.in('grpc_service'), common?.grpcService, OTLP_PATH, envelope)
  if (!to) throw new LeftOut('its service is no cluster')
  const isOwn = from.bufferFlushInterval !== undefined || from.bufferSizeBytes !== undefined
  return { ...to, ...(isOwn || !common ? batchingOf(at, from) : batchingOf(here, common)) }
}

function resourceOf(at: DecodePath, from: KeyValueList | undefined): (readonly [string, string])[] {
  return (from?.values ?? []).flatMap(({ key, value }) => {
    if (value?.value.case === 'stringValue') return [[key, value.value.value] as const]
    at.ignore(`${key.slice(0, 64)} is no text`)
    return []
  })
}

function otlpFormat({ body, attributes }: OpenTelemetryAccessLogConfig): EntryFormat {
  return {
    kind: 'otlp',
    body: body && valueOf(body, 0),
    attributes: fieldsOf(attributes, 0),
  }
}

function fieldsOf(from: KeyValueList | undefined, depth: number): (readonly [string, EntryValue])[] {
  return (from?.values ?? []).map(({ key, value }) => [key, valueOf(value, depth)])
}

/** Envoy, too, knows no other values. */
function valueOf(from: AnyValue | undefined, depth: number): EntryValue {
  if (depth > MAX_DEPTH) throw new LeftOut(`its format is nested deeper than ${MAX_DEPTH}`)
  const by = from?.value
  if (by?.case === 'stringValue') return { kind: 'text', format: decodeTextFormat(by.value) }
  if (by?.case === 'kvlistValue') return { kind: 'struct', fields: fieldsOf(by.value, depth + 1) }
  if (by?.case === 'arrayValue') return { kind: 'list', items: by.value.values.map((item) => valueOf(item, depth + 1)) }
  throw new LeftOut('its format has values that are neither texts nor lists')
}
