/** What an entry of an access log has that a collector is told of. Pure. */
import type { LogFormat } from './format.ts'

export type EntryFormat =
  /** opentelemetry.proto.logs.v1.LogRecord. */
  | {
      readonly kind: 'otlp'
      readonly body: EntryValue | undefined
      readonly attributes: readonly (readonly [name: string, value: EntryValue])[]
    }
  /** envoy.data.accesslog.v3.HTTPAccessLogEntry, with these headers; lower case. */
  | {
      readonly kind: 'http'
      readonly requestHeaders: readonly string[]
      readonly responseHeaders: readonly string[]
      readonly responseTrailers: readonly string[]
    }
  /** envoy.data.accesslog.v3.TCPAccessLogEntry. */
  | { readonly kind: 'tcp' }

/** opentelemetry.proto.common.v1.AnyValue, whose texts have operators. */
export type EntryValue =
  | { readonly kind: 'text'; readonly format: LogFormat }
  | { readonly kind: 'list'; readonly items: readonly EntryValue[] }
  | { readonly kind: 'struct'; readonly fields: readonly (readonly [name: string, value: EntryValue])[] }
