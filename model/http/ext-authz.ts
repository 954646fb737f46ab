/** envoy.extensions.filters.http.ext_authz.v3.ExtAuthz, decoded: another service is asked about each request (CUSTOM). */
import type { StringMatch } from '../matcher.ts'
import type { MetadataMatch } from './metadata.ts'

/** The names that Envoy writes under, whatever the filters are called. */
export const EXT_AUTHZ_METADATA = 'envoy.filters.http.ext_authz'
export const RBAC_METADATA = 'envoy.filters.http.rbac'

export const NETWORK_RBAC_METADATA = 'envoy.filters.network.rbac'

/** envoy.extensions.filters.network.ext_authz.v3.ExtAuthz: another service is asked about each connection. */
export type ConnectionAuthz = {
  readonly statPrefix: string
  readonly service: GrpcAuthService
  readonly failureAllows: boolean
  /** Which connections are asked about: what the chain's policies have found out; undefined: all. */
  readonly enabledBy: MetadataMatch | undefined
  readonly sendsServerName: boolean
  readonly sendsCertificate: boolean
}

export type ExtAuthz = {
  readonly service: AuthService
  /** Who cannot be asked about passes; else the answer is `statusOnError`. */
  readonly failureAllows: boolean
  /** The endpoint learns of it (x-envoy-auth-failure-mode-allowed). */
  readonly failureIsTold: boolean
  readonly statusOnError: number
  readonly body: AuthBody | undefined
  /** The route is looked for again where the service has changed the request. */
  readonly reroutes: boolean
  /** Which requests are asked about: what a filter before has found out; undefined: all. */
  readonly enabledBy: MetadataMatch | undefined
  /** 0..1 of the requests. */
  readonly enabledFraction: number
  /** What is not asked about is refused. */
  readonly deniesOthers: boolean
  /** Headers that the service gets; undefined: all over gRPC, over HTTP only what it always gets. */
  readonly allowed: readonly StringMatch[] | undefined
  /** Among those it does not get. */
  readonly disallowed: readonly StringMatch[]
  /** Of metadata, by the filters' names (gRPC). */
  readonly metadata: readonly string[]
  readonly sendsServerName: boolean
  /** The client's own, as PEM (gRPC). */
  readonly sendsCertificate?: boolean
  /** A header that is none, or may not be changed, is an error and not left out. */
  readonly validates: boolean
}

/** The first so many bytes go to the service; more is refused unless a part will do. */
export type AuthBody = { readonly maxBytes: number; readonly partial: boolean; readonly asBytes: boolean }

export type GrpcAuthService = Extract<AuthService, { kind: 'grpc' }>
export type AuthService = {
  readonly cluster: string
  readonly authority: string
  readonly timeoutMs: number
  /** Flat; for the service only. */
  readonly headers: readonly string[]
} & (
  | { readonly kind: 'grpc' }
  | {
      readonly kind: 'http'
      readonly pathPrefix: string
      /** In place of the request's path. */
      readonly path: string | undefined
      /** Headers of a good answer that the endpoint gets, in place of the client's or behind them. */
      readonly upstream: readonly StringMatch[]
      readonly upstreamAppended: readonly StringMatch[]
      /** Headers of a refusal that the client gets; undefined: all. */
      readonly client: readonly StringMatch[] | undefined
      readonly clientOnSuccess: readonly StringMatch[]
      readonly metadata: readonly StringMatch[]
    }
)

/** What a route says: false switches the filter off. */
export type RouteExtAuthz =
  | false
  | { readonly context: Readonly<Record<string, string>>; readonly body: AuthBody | false | undefined }

/** Larger bodies are not held for a service. */
export const MAX_AUTH_BODY_BYTES = 8 * 1024 * 1024
