import type { Collector } from './collector.ts'
import type { EntryFormat } from './entry.ts'
import type { LogFilter } from './filter.ts'
import { parseFormat, type FormatPart, type LogFormat } from './format.ts'

/** envoy.config.accesslog.v3.AccessLog, of a listener, an HTTP connection manager or a TCP proxy. */
export type AccessLog = {
  /** Left out: everything is logged. */
  readonly filter?: LogFilter
} & (
  | { readonly to: LogTarget; readonly format: LogFormat; readonly collector?: undefined }
  | { readonly collector: Collector; readonly entry: EntryFormat }
)

/** `output`: the standard output of the agent, beside its own lines. */
export type LogTarget = { readonly kind: 'output' } | { readonly kind: 'file'; readonly path: string }

/** Takes lines. */
export type AccessLogOutput = {
  /** Of all logs together; what is above is left out and counted. */
  readonly maxLinesPerSecond: number
  /** @returns false: there is no room for it, and it is lost. */
  write(to: LogTarget, line: Buffer): boolean
}

export const DEFAULT_MAX_LINES_PER_SECOND = 1_000

/** What Envoy writes where no format is given. */
export const DEFAULT_FORMAT: LogFormat = {
  kind: 'text',
  omitEmpty: false,
  parts: partsOf(
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% ' +
      '%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" ' +
      '"%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"\n',
  ),
}

function partsOf(text: string): readonly FormatPart[] {
  const parts = parseFormat(text)
  if ('unknown' in parts) throw new TypeError(`${parts.unknown} is no operator`)
  return parts
}
