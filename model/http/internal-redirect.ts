/** envoy.config.route.v3.InternalRedirectPolicy: redirects of endpoints that the proxy follows itself. */
export type InternalRedirects = {
  readonly statuses: ReadonlySet<number>
  /** Of one request. */
  readonly max: number
  /** From http to https and back. */
  readonly crossesSchemes: boolean
  /** In order; each may keep the request from its route. */
  readonly predicates: readonly RedirectPredicate[]
  /** Fields of the answer that the request takes, lower case; where the answer has none, the request has none. */
  readonly copies: readonly string[]
}
/** `previous-routes`: each route once. `safe-scheme`: never from https to http. */
export type RedirectPredicate =
  | { readonly kind: 'previous-routes' | 'safe-scheme' }
  | { readonly kind: 'allowed-routes'; readonly names: ReadonlySet<string> }
