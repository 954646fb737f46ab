/** Bytes of a resource → the model, or every issue with its path. The only door to the decoders; never throws. */
import type { DescMessage, MessageShape } from '@bufbuild/protobuf'
import type { Cluster, ClusterLoad } from '../../model/cluster.ts'
import type { Listener } from '../../model/listener.ts'
import type { RouteConfig } from '../../model/route.ts'
import type { Decoded, ResourceKind } from '../../model/snapshot.ts'
import type { Names } from '../../model/tables.ts'
import type { Secret } from '../../model/tls.ts'
import { ClusterSchema } from '../../proto/gen/envoy/config/cluster/v3/cluster_pb.ts'
import { TypedExtensionConfigSchema } from '../../proto/gen/envoy/config/core/v3/extension_pb.ts'
import { ClusterLoadAssignmentSchema } from '../../proto/gen/envoy/config/endpoint/v3/endpoint_pb.ts'
import { ListenerSchema } from '../../proto/gen/envoy/config/listener/v3/listener_pb.ts'
import { RouteConfigurationSchema } from '../../proto/gen/envoy/config/route/v3/route_pb.ts'
import { SecretSchema } from '../../proto/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts'
import { ProxyConfigSchema } from '../../proto/gen/istio/mesh/v1alpha1/proxy_pb.ts'
import { NameTableSchema } from '../../proto/gen/istio/networking/nds/v1/nds_pb.ts'
import { DecodePath, noteIgnored, type Sources } from './fields/decode-path.ts'
import { blockCluster, decodeCluster } from './cluster.ts'
import { decodeClusterLoad } from './endpoint.ts'
import { decodeExtension, type Extension } from './listener/extension.ts'
import { blockListener, decodeListener } from './listener/listener.ts'
import { decodeNames, decodeProxyConfig, type ProxyConfig } from './names.ts'
import { decodeSecret } from './secret.ts'
import { toReadable } from './fields/readable.ts'
import { blockTable, decodeRouteConfig } from './route/route.ts'

export type ModelOf<K extends ResourceKind> = {
  cluster: Cluster
  endpoint: ClusterLoad
  listener: Listener
  route: RouteConfig
  secret: Secret
  extension: Extension
  nameTable: Names
  proxyConfig: ProxyConfig
}[K]

type Decoder<T, S extends DescMessage> = {
  readonly schema: S
  readonly make: (at: DecodePath, message: MessageShape<S>) => T
  /**
   * What stands in for a resource with an issue that none of its pieces has. Left out: such a resource is refused, and
   * its last good version serves on.
   */
  readonly blocked?: (message: MessageShape<S>, reason: string) => T
}
const decoder =
  <T, S extends DescMessage>(
    schema: S,
    make: Decoder<T, S>['make'],
    blocked?: Decoder<T, S>['blocked'],
  ): ((at: DecodePath, bytes: Uint8Array) => T) =>
  (at, bytes) =>
    run({ schema, make, ...(blocked ? { blocked } : {}) }, at, bytes)

function run<T, S extends DescMessage>({ schema, make, blocked }: Decoder<T, S>, at: DecodePath, bytes: Uint8Array): T {
  const { message, unreadable } = toReadable(schema, bytes)
  const whole = (): T => {
    for (const field of unreadable) at.in(field).issue('cannot be read')
    noteIgnored(at, schema, message)
    return make(at, message)
  }
  return blocked ? at.piece(whole, (reason) => blocked(message, reason)) : whole()
}

const DECODERS: { readonly [K in ResourceKind]: (at: DecodePath, bytes: Uint8Array) => ModelOf<K> } = {
  cluster: decoder(ClusterSchema, decodeCluster, blockCluster),
  endpoint: decoder(ClusterLoadAssignmentSchema, decodeClusterLoad),
  listener: decoder(ListenerSchema, decodeListener, blockListener),
  route: decoder(RouteConfigurationSchema, decodeRouteConfig, blockTable),
  secret: decoder(SecretSchema, decodeSecret),
  // It is part of the chains that name it, and these are what is blocked.
  extension: decoder(TypedExtensionConfigSchema, decodeExtension, ({ name }) => ({ name, type: '' })),
  nameTable: decoder(NameTableSchema, decodeNames),
  proxyConfig: decoder(ProxyConfigSchema, decodeProxyConfig),
}

export type DecodeOptions = Sources

/**
 * @param bytes the Any's value
 * @returns the model, the fields without effect and what is blocked, or the issues; paths are in Envoy's field names,
 * e.g. "filter_chains[0].filters[2].typed_config"
 */
export function decode<K extends ResourceKind>(
  kind: K,
  bytes: Uint8Array,
  sources: DecodeOptions = {},
): Decoded<ModelOf<K>> {
  const at = DecodePath.top(sources)
  try {
    const value = DECODERS[kind](at, bytes)
    return at.isOpen
      ? { ok: false, issues: at.issues }
      : { ok: true, value, ignored: at.ignored, skipped: at.skipped, blocked: at.issues }
  } catch (err) {
    // No protobuf at all: it says nothing that could be weaker or stronger than what serves.
    return {
      ok: false,
      issues: [
        ...at.issues,
        { path: '', problem: `cannot be read: ${err instanceof Error ? err.message : String(err)}` },
      ],
    }
  }
}
