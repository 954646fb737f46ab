/** Where spans and entries of access logs go: many in a request, through a cluster of the mesh. */
export type Collector = {
  readonly cluster: string
  readonly authority: string
  readonly path: string
  /** Of each request, flat, lower-case names. */
  readonly headers: readonly string[]
  /** Undefined: no time is said. */
  readonly timeoutMs?: number | undefined
  /** `grpc`: one message over HTTP/2, and the verdict in grpc-status. */
  readonly speaks: 'grpc' | 'http'
  readonly envelope: Envelope
  /** Undefined: as the exporter sees fit. */
  readonly flushMs?: number | undefined
  readonly batchBytes?: number | undefined
}

/** What stands around the items of a request. */
export type Envelope =
  | {
      /** opentelemetry.proto: one resource with one scope. */
      readonly kind: 'otlp'
      readonly of: Signal
      readonly resource: readonly (readonly [name: string, value: string])[]
      /** The resource says this name, and which node we are, as Envoy does by itself. */
      readonly builtin?: { readonly logName: string }
      /** And what OTEL_RESOURCE_ATTRIBUTES says. */
      readonly withEnvironment?: boolean
    }
  /** A list in JSON. */
  | { readonly kind: 'zipkin' }
  /** envoy.service.accesslog.v3.StreamAccessLogsMessage. */
  | { readonly kind: 'als'; readonly logName: string; readonly of: 'http' | 'tcp' }

/** What one item is; each is counted on its own. */
export type Signal = 'spans' | 'logs'

/** Takes items to their collectors. Never throws. */
export type ExportOutput = { send(collector: Collector, signal: Signal, item: Buffer): void }
