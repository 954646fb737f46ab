/** envoy.extensions.filters.http.stateful_session.v3.StatefulSession: requests of a session go to its endpoint. */
export type StatefulSession = {
  readonly kept: SessionKept
  /** No other endpoint is to have it; else the balancer picks one where that of the session cannot serve. */
  readonly isStrict: boolean
  /** Of the answer where that is so and the endpoint cannot serve; left out: 503. */
  readonly notFoundStatus?: number
}
/** Where the client keeps its endpoint's address. */
export type SessionKept =
  | {
      readonly in: 'cookie'
      readonly name: string
      /** 0: until the client forgets it. */
      readonly ttlSec: number
      /** Requests to other paths belong to no session. */
      readonly path: string
      /** Of the set-cookie field; '' = without a value. */
      readonly attributes: readonly (readonly [name: string, value: string])[]
    }
  /** `name` in lower case. */
  | { readonly in: 'header'; readonly name: string }
