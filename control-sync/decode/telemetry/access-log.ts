/**
 * envoy.config.accesslog.v3.AccessLog → AccessLog. A log that cannot be written as it was asked for is left out and told:
 * half of its lines, or lines without what somebody looks for, would be taken for all there is.
 */
import type { JsonObject, JsonValue } from '@bufbuild/protobuf'
import { DEFAULT_FORMAT, type AccessLog, type LogTarget } from '../../../model/access-log/access-log.ts'
import { parseFormat, type JsonFormat, type LogFormat } from '../../../model/access-log/format.ts'
import type { AccessLog as XAccessLog } from '../../../proto/gen/envoy/config/accesslog/v3/accesslog_pb.ts'
import type { SubstitutionFormatString } from '../../../proto/gen/envoy/config/core/v3/substitution_format_string_pb.ts'
import {
  FileAccessLogSchema,
  type FileAccessLog,
} from '../../../proto/gen/envoy/extensions/access_loggers/file/v3/file_pb.ts'
import {
  StderrAccessLogSchema,
  StdoutAccessLogSchema,
} from '../../../proto/gen/envoy/extensions/access_loggers/stream/v3/stream_pb.ts'
import { readEffectiveType, unpack } from '../fields/any.ts'
import { DecodePath, hasUnknown, noteIgnored } from '../fields/decode-path.ts'
import { decodeText } from '../fields/values.ts'
import { decodeLogFilter } from './log-filter.ts'

/** Envoy's names of its own output. */
const OUTPUTS: ReadonlySet<string> = new Set(['/dev/stdout', '/dev/stderr', '/proc/self/fd/1', '/proc/self/fd/2'])
const MAX_LOGS = 64
const MAX_DEPTH = 16

/** Why a log is left out. */
class LeftOut extends Error {}

/** @param at the field `access_log` */
export function decodeAccessLogs(
  at: DecodePath,
  from: readonly XAccessLog[],
): { readonly accessLogs?: readonly AccessLog[] } {
  const logs = from.flatMap((log, i): AccessLog | [] => {
    const here = at.item(i)
    try {
      if (i >= MAX_LOGS) throw new LeftOut(`there are more than ${MAX_LOGS} logs`)
      return decodeQuietly(here, log)
    } catch (err) {
      if (!(err instanceof LeftOut)) throw err
      here.ignore(err.message)
      here.skip(`an access log is not written: ${err.message}`)
      return []
    }
  })
  return logs.length === 0 ? {} : { accessLogs: logs }
}

/** An issue is one of this log, and no reason to refuse connections. */
function decodeQuietly(at: DecodePath, from: XAccessLog): AccessLog {
  const { readFile, files } = at
  const own = DecodePath.top({ readFile, files })
  const log = decodeAccessLog(own, from)
  const [issue] = own.issues
  if (issue) throw new LeftOut(`${issue.path}: ${issue.problem}`)
  for (const path of own.ignored) at.in(path).ignore()
  return log
}

function decodeAccessLog(at: DecodePath, from: XAccessLog): AccessLog {
  const { to, format } = targetOf(at.in('typed_config'), from)
  const filter = from.filter && decodeLogFilter(at.in('filter'), from.filter)
  if (typeof filter === 'string') throw new LeftOut(filter)
  return { to, format, ...(filter && { filter }) }
}

function targetOf(at: DecodePath, { configType: { value: any } }: XAccessLog): Pick<AccessLog, 'to' | 'format'> {
  const file = unpack(at, any, FileAccessLogSchema)
  if (file) {
    noteIgnored(at, FileAccessLogSchema, file)
    return { to: fileOf(at, file), format: fileFormat(at, file) }
  }
  const stream = unpack(at, any, StdoutAccessLogSchema) ?? unpack(at, any, StderrAccessLogSchema)
  if (stream) {
    noteIgnored(at, StdoutAccessLogSchema, { ...stream, $typeName: StdoutAccessLogSchema.typeName })
    const { case: how, value } = stream.accessLogFormat
    return { to: { kind: 'output' }, format: how ? formatOf(at.in('log_format'), value) : DEFAULT_FORMAT }
  }
  throw new LeftOut(`${readEffectiveType(at, any) || 'no type'} is not implemented`)
}

function fileOf({ files }: DecodePath, { path }: FileAccessLog): LogTarget {
  if (OUTPUTS.has(path)) return { kind: 'output' }
  if (files?.permitsLog?.(path)) return { kind: 'file', path }
  throw new LeftOut(`${JSON.stringify(path.slice(0, 256))} is in no folder that telemetry.accessLogs.folders permits`)
}

function fileFormat(at: DecodePath, file: FileAccessLog): LogFormat {
  const { accessLogFormat: by } = file
  switch (by.case) {
    case undefined:
      if (hasUnknown(file)) throw new LeftOut('its format is in a field that meshlet does not know')
      return DEFAULT_FORMAT
    case 'format':
      return by.value === '' ? DEFAULT_FORMAT : textFormat(by.value)
    case 'typedJsonFormat':
      return { kind: 'json', value: jsonFormat(by.value), omitEmpty: false }
    case 'logFormat':
      return formatOf(at.in('log_format'), by.value)
    default:
      return by satisfies never
  }
}

function formatOf(at: DecodePath, { format, omitEmptyValues }: SubstitutionFormatString): LogFormat {
  switch (format.case) {
    case 'textFormat':
      return textFormat(format.value, omitEmptyValues)
    case 'textFormatSource': {
      const text = decodeText(at.in('text_format_source'), format.value)
      if (text === undefined) throw new LeftOut('its format cannot be read')
      return textFormat(text, omitEmptyValues)
    }
    case 'jsonFormat':
      return { kind: 'json', value: jsonFormat(format.value), omitEmpty: omitEmptyValues }
    case undefined:
      throw new LeftOut('its format is neither text nor JSON')
    default:
      return format satisfies never
  }
}

function textFormat(text: string, omitEmpty = false): LogFormat {
  return { kind: 'text', parts: partsOf(text), omitEmpty }
}

function partsOf(text: string): Extract<LogFormat, { kind: 'text' }>['parts'] {
  const parts = parseFormat(text)
  if ('unknown' in parts) throw new LeftOut(`${parts.unknown.slice(0, 128)} is no operator that meshlet knows`)
  return parts
}

function jsonFormat(from: JsonObject): JsonFormat {
  return structOf(from, 0)
}

function valueOf(from: JsonValue, depth: number): JsonFormat {
  if (typeof from === 'string') return { kind: 'text', parts: partsOf(from) }
  if (typeof from !== 'object' || from === null) return { kind: 'literal', value: from }
  if (depth > MAX_DEPTH) throw new LeftOut(`its format is nested deeper than ${MAX_DEPTH}`)
  return Array.isArray(from)
    ? { kind: 'list', items: from.map((item) => valueOf(item, depth + 1)) }
    : structOf(from, depth + 1)
}

/** Sorted, as Envoy writes them. */
function structOf(from: JsonObject, depth: number): JsonFormat {
  const names = Object.keys(from).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  return { kind: 'struct', fields: names.map((name) => [name, valueOf(from[name]!, depth)]) }
}
