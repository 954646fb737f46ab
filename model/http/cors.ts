import type { StringMatch } from '../matcher.ts'

/**
 * envoy.extensions.filters.http.cors.v3.CorsPolicy, of the nearest of route, virtual host and table that has one; what
 * it does not say the next one says. Texts are field values; '' = not said.
 */
export type CorsPolicy = {
  /** 0..1 of the requests, of the nearest policy only. */
  readonly enabled: number
  /** Likewise: the origin is looked at and counted, and nothing is changed. */
  readonly shadow: number
  readonly origins: readonly StringMatch[]
  readonly allowMethods: string
  readonly allowHeaders: string
  readonly exposeHeaders: string
  readonly maxAge: string
  readonly allowCredentials: boolean | undefined
  readonly allowPrivateNetwork: boolean | undefined
  /** Preflights of origins that are not allowed go to the endpoint; default: yes. */
  readonly forwardOthers: boolean | undefined
}
