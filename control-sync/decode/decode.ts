/** Bytes of a resource → the model, or every issue with its path. The only door to the decoders; never throws. */
import { fromBinary, type DescMessage, type MessageShape } from '@bufbuild/protobuf'
import type { Cluster, ClusterLoad } from '../../agent/model/cluster.ts'
import type { Listener } from '../../agent/model/listener.ts'
import type { RouteConfig } from '../../agent/model/route.ts'
import type { Decoded, ResourceKind } from '../../agent/model/snapshot.ts'
import type { Names } from '../../agent/model/tables.ts'
import { ClusterSchema } from '../proto/gen/envoy/config/cluster/v3/cluster_pb.ts'
import { TypedExtensionConfigSchema } from '../proto/gen/envoy/config/core/v3/extension_pb.ts'
import { ClusterLoadAssignmentSchema } from '../proto/gen/envoy/config/endpoint/v3/endpoint_pb.ts'
import { ListenerSchema } from '../proto/gen/envoy/config/listener/v3/listener_pb.ts'
import { RouteConfigurationSchema } from '../proto/gen/envoy/config/route/v3/route_pb.ts'
import { ProxyConfigSchema } from '../proto/gen/istio/mesh/v1alpha1/proxy_pb.ts'
import { NameTableSchema } from '../proto/gen/istio/networking/nds/v1/nds_pb.ts'
import { At, noteIgnored, type Sources } from './at.ts'
import { cluster } from './cluster.ts'
import { clusterLoad } from './endpoint.ts'
import { extension, type Extension } from './extension.ts'
import { listener } from './listener.ts'
import { names, proxyConfig, type ProxyConfig } from './names.ts'
import { routeConfig } from './route.ts'

export type ModelOf<K extends ResourceKind> = {
  cluster: Cluster; endpoint: ClusterLoad; listener: Listener; route: RouteConfig; extension: Extension; nameTable: Names; proxyConfig: ProxyConfig
}[K]

type Decoder<T, S extends DescMessage> = { readonly schema: S; readonly make: (at: At, message: MessageShape<S>) => T }
const decoder = <T, S extends DescMessage>(schema: S, make: (at: At, message: MessageShape<S>) => T): ((at: At, bytes: Uint8Array) => T) =>
  (at, bytes) => run({ schema, make }, at, bytes)

function run<T, S extends DescMessage>({ schema, make }: Decoder<T, S>, at: At, bytes: Uint8Array): T {
  const message = fromBinary(schema, bytes)
  noteIgnored(at, schema, message)
  return make(at, message)
}

const DECODERS: { readonly [K in ResourceKind]: (at: At, bytes: Uint8Array) => ModelOf<K> } = {
  cluster: decoder(ClusterSchema, cluster),
  endpoint: decoder(ClusterLoadAssignmentSchema, clusterLoad),
  listener: decoder(ListenerSchema, listener),
  route: decoder(RouteConfigurationSchema, routeConfig),
  extension: decoder(TypedExtensionConfigSchema, extension),
  nameTable: decoder(NameTableSchema, names),
  proxyConfig: decoder(ProxyConfigSchema, proxyConfig),
}

export type DecodeOptions = Sources

/**
 * @param bytes the Any's value
 * @returns the model and the fields without effect, or the issues; paths are in Envoy's field names, e.g. "filter_chains[0].filters[2].typed_config"
 */
export function decode<K extends ResourceKind>(kind: K, bytes: Uint8Array, sources: DecodeOptions = {}): Decoded<ModelOf<K>> {
  const at = At.top(sources)
  try {
    const value = DECODERS[kind](at, bytes)
    return at.issues.length > 0 ? { ok: false, issues: at.issues } : { ok: true, value, ignored: at.ignored }
  } catch (err) {
    // Broken protobuf, or nesting so deep that the stack ends.
    return { ok: false, issues: [...at.issues, { path: '', problem: `cannot be read: ${err instanceof Error ? err.message : String(err)}` }] }
  }
}
