/**
 * One consistent set of resources as received: raw bytes by type and name. What is stored on disk and what tables are
 * built from.
 */

export const TYPE_URLS = {
  cluster: 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
  endpoint: 'type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment',
  listener: 'type.googleapis.com/envoy.config.listener.v3.Listener',
  route: 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
  secret: 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret',
  extension: 'type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig',
  nameTable: 'type.googleapis.com/istio.networking.nds.v1.NameTable',
  proxyConfig: 'type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig',
} as const
export type ResourceKind = keyof typeof TYPE_URLS

/** `value` is the Any's value, untouched. */
export type RawResource = { readonly name: string; readonly value: Uint8Array; readonly version: string }
export type Snapshot = {
  readonly resources: Readonly<Record<ResourceKind, ReadonlyMap<string, RawResource>>>
  /** Wall milliseconds of the last push applied; 0 = never. */
  readonly savedAtMs: number
}

/**
 * A place in a resource that could not be used: `path` in Envoy's field names, e.g.
 * "filter_chains[0].filters[2].typed_config".
 */
export type Issue = { readonly path: string; readonly problem: string }
/**
 * `ignored`: fields that were received and are not acted upon. They are counted and listed, never an error. `skipped`:
 * what of it a person wants to know, in words. `blocked`: what is wrong with pieces of the resource (a chain, a route,
 * a virtual host, the cluster); these are part of `value` and refuse everything that they would have got.
 */
export type Decoded<T> =
  | {
      readonly ok: true
      readonly value: T
      readonly ignored: readonly string[]
      readonly skipped: readonly string[]
      readonly blocked: readonly Issue[]
    }
  | { readonly ok: false; readonly issues: readonly Issue[] }
