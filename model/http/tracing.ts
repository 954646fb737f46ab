import type { Collector } from '../access-log/collector.ts'

/** HttpConnectionManager.Tracing: which requests are traced, what their spans say, and where these go. */
export type Tracing = {
  /** Shares of requests, 0 to 1: of those that a client asks to be traced (x-client-trace-id), of all, and over both. */
  readonly clientSampling: number
  readonly randomSampling: number
  readonly overallSampling: number
  readonly maxPathLength: number
  readonly tags: readonly CustomTag[]
  readonly provider: TracingProvider
}

export type CustomTag =
  | { readonly kind: 'literal'; readonly tag: string; readonly value: string }
  /** `byDefault`: where the request has none; '' = then there is no tag. */
  | { readonly kind: 'header'; readonly tag: string; readonly name: string; readonly byDefault: string }

export type TracingProvider =
  | {
      readonly kind: 'zipkin'
      readonly to: Collector
      /** Trace ids of 128 bits. */
      readonly isLong: boolean
      /** A server's span has the id of its client's. */
      readonly isShared: boolean
      /** traceparent is understood and told, too. */
      readonly withW3c: boolean
    }
  | { readonly kind: 'otlp'; readonly to: Collector }

/** One hop of a request. Ids are lower-case hex. */
export type Span = {
  readonly traceId: string
  readonly id: string
  readonly parentId: string | undefined
  /** It is reported; others are only passed on. */
  readonly isSampled: boolean
  /** The id is also that of the caller's span. */
  readonly isShared: boolean
  /** W3C tracestate of the caller, which goes on with it. */
  readonly state: string | undefined
}

/** A span that is over. */
export type FinishedSpan = Span & {
  readonly name: string
  readonly kind: 'server' | 'client'
  /** Wall milliseconds. */
  readonly startedMs: number
  readonly durationMs: number
  readonly isError: boolean
  readonly tags: readonly (readonly [name: string, value: string])[]
  /** Our own address. */
  readonly local: { readonly host: string; readonly port: number }
}
