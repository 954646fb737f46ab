/**
 * envoy.config.accesslog.v3.AccessLog → AccessLog. A log that cannot be written as it was asked for is left out and told:
 * half of its lines, or lines without what somebody looks for, would be taken for all there is.
 */
import { DEFAULT_FORMAT, type AccessLog, type LogTarget } from '../../../model/access-log/access-log.ts'
import type { LogFormat } from '../../../model/access-log/format.ts'
import type { AccessLog as XAccessLog } from '../../../proto/gen/envoy/config/accesslog/v3/accesslog_pb.ts'
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
import { decodeEntryLog } from './entry-log.ts'
import { decodeLogFilter } from './log-filter.ts'
import { decodeFormat, decodeJsonFormat, decodeTextFormat, LeftOut } from './log-format.ts'

/** Envoy's names of its own output. */
const OUTPUTS: ReadonlySet<string> = new Set(['/dev/stdout', '/dev/stderr', '/proc/self/fd/1', '/proc/self/fd/2'])
const MAX_LOGS = 64

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
  const target = targetOf(at.in('typed_config'), from)
  const filter = from.filter && decodeLogFilter(at.in('filter'), from.filter)
  if (typeof filter === 'string') throw new LeftOut(filter)
  return { ...target, ...(filter && { filter }) }
}

function targetOf(at: DecodePath, { configType: { value: any } }: XAccessLog): AccessLog {
  const file = unpack(at, any, FileAccessLogSchema)
  if (file) {
    noteIgnored(at, FileAccessLogSchema, file)
    return { to: fileOf(at, file), format: fileFormat(at, file) }
  }
  const stream = unpack(at, any, StdoutAccessLogSchema) ?? unpack(at, any, StderrAccessLogSchema)
  if (stream) {
    noteIgnored(at, StdoutAccessLogSchema, { ...stream, $typeName: StdoutAccessLogSchema.typeName })
    const { case: how, value } = stream.accessLogFormat
    return { to: { kind: 'output' }, format: how ? decodeFormat(at.in('log_format'), value) : DEFAULT_FORMAT }
  }
  const entries = decodeEntryLog(at, any)
  if (entries) return entries
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
      return by.value === '' ? DEFAULT_FORMAT : decodeTextFormat(by.value)
    case 'typedJsonFormat':
      return { kind: 'json', value: decodeJsonFormat(by.value), omitEmpty: false }
    case 'logFormat':
      return decodeFormat(at.in('log_format'), by.value)
    default:
      return by satisfies never
  }
}
