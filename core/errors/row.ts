/**
 * `unsent`: no byte reached the peer, always safe. `reused`: only if the connection came from the pool and no response
 * byte arrived.
 */
export type RetryClass = 'never' | 'unsent' | 'reused'
/** `origin` decides whose health is charged; `flag` is Envoy's response flag where one exists, else ztunnel's name. */
export type Row = {
  origin: 'downstream' | 'upstream' | 'config' | 'internal'
  retry: RetryClass
  http: number
  flag: string
  remedy: string
}
