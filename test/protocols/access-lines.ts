/** Access logs whose lines a test reads. */
import assert from 'node:assert/strict'
import { decodeAccessLogs } from '../../control-sync/decode/telemetry/access-log.ts'
import { DecodePath } from '../../control-sync/decode/fields/decode-path.ts'
import type { AccessLog, AccessLogOutput, LogTarget } from '../../model/access-log/access-log.ts'
import { fromJson, type JsonObject } from '@bufbuild/protobuf'
import { AccessLogSchema } from '../../proto/gen/envoy/config/accesslog/v3/accesslog_pb.ts'
import { loadRegistry } from '../../proto/registry.ts'

export const FILE_LOG = 'type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog'

/** A log on the output, with the format as Envoy has it. */
export function accessLogOf(logFormat: JsonObject, more: JsonObject = {}): AccessLog {
  const json = {
    name: 'l',
    typed_config: { '@type': FILE_LOG, path: '/dev/stdout', log_format: logFormat },
    ...more,
  }
  const at = DecodePath.top()
  const made = decodeAccessLogs(at, [fromJson(AccessLogSchema, json, { registry: loadRegistry() })])
  assert.deepEqual(at.skipped, [])
  return made.accessLogs?.[0] ?? assert.fail('no log')
}
export const textLog = (text: string, more: JsonObject = {}): AccessLog =>
  accessLogOf({ text_format_source: { inline_string: text } }, more)
export const jsonLog = (format: JsonObject, more: JsonObject = {}): AccessLog =>
  accessLogOf({ json_format: format }, more)

/** Takes all lines. */
export class Lines implements AccessLogOutput {
  readonly maxLinesPerSecond: number
  readonly texts: string[] = []
  constructor(maxLinesPerSecond = Infinity) {
    this.maxLinesPerSecond = maxLinesPerSecond
  }
  write(_to: LogTarget, line: Buffer): boolean {
    this.texts.push(line.toString('utf8'))
    return true
  }
  get parsed(): Record<string, unknown>[] {
    return this.texts.map((text) => JSON.parse(text) as Record<string, unknown>)
  }
}
