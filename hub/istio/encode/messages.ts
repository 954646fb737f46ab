/**
 * Messages for the JSON that is compiled: Envoy's, Istio's, and the few that istiod sends and no data plane here reads
 * (Envoy's DNS resolver, original_src, Istio's ALPN filter), so that an Envoy gets what it gets from an istiod.
 */
import { create, createFileRegistry, createRegistry, type Registry } from '@bufbuild/protobuf'
import {
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  file_google_protobuf_wrappers,
} from '@bufbuild/protobuf/wkt'
import { loadFullRegistry } from '../../../proto/full/registry.ts'

/** envoy/extensions/network/dns_resolver/cares/v3, as much of it as istiod sets. */
const CARES = create(FileDescriptorProtoSchema, {
  name: 'hub/cares.proto',
  package: 'envoy.extensions.network.dns_resolver.cares.v3',
  syntax: 'proto3',
  dependency: ['google/protobuf/wrappers.proto'],
  messageType: [
    {
      name: 'CaresDnsResolverConfig',
      field: [
        {
          name: 'udp_max_queries',
          number: 5,
          label: Label.OPTIONAL,
          type: Type.MESSAGE,
          typeName: '.google.protobuf.UInt32Value',
          jsonName: 'udpMaxQueries',
        },
      ],
    },
  ],
})
/** envoy/extensions/filters/listener/original_src/v3. */
const ORIGINAL_SRC = create(FileDescriptorProtoSchema, {
  name: 'hub/original_src.proto',
  package: 'envoy.extensions.filters.listener.original_src.v3',
  syntax: 'proto3',
  messageType: [
    {
      name: 'OriginalSrc',
      field: [
        { name: 'bind_port', number: 1, label: Label.OPTIONAL, type: Type.BOOL, jsonName: 'bindPort' },
        { name: 'mark', number: 2, label: Label.OPTIONAL, type: Type.UINT32, jsonName: 'mark' },
      ],
    },
  ],
})
/** istio.io/api, envoy/config/filter/http/alpn/v2alpha1. */
const ALPN = create(FileDescriptorProtoSchema, {
  name: 'hub/alpn.proto',
  package: 'istio.envoy.config.filter.http.alpn.v2alpha1',
  syntax: 'proto3',
  messageType: [
    {
      name: 'FilterConfig',
      field: [
        {
          name: 'alpn_override',
          number: 1,
          label: Label.REPEATED,
          type: Type.MESSAGE,
          typeName: '.istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig.AlpnOverride',
          jsonName: 'alpnOverride',
        },
      ],
      enumType: [
        {
          name: 'Protocol',
          value: [
            { name: 'HTTP10', number: 0 },
            { name: 'HTTP11', number: 1 },
            { name: 'HTTP2', number: 2 },
          ],
        },
      ],
      nestedType: [
        {
          name: 'AlpnOverride',
          field: [
            {
              name: 'upstream_protocol',
              number: 1,
              label: Label.OPTIONAL,
              type: Type.ENUM,
              typeName: '.istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig.Protocol',
              jsonName: 'upstreamProtocol',
            },
            { name: 'alpn_override', number: 2, label: Label.REPEATED, type: Type.STRING, jsonName: 'alpnOverride' },
          ],
        },
      ],
    },
  ],
})

let made: Registry | undefined

/** Takes megabytes once it is asked for. */
export function loadMessages(): Registry {
  if (made) return made
  const more = createFileRegistry(
    create(FileDescriptorSetSchema, { file: [file_google_protobuf_wrappers.proto, CARES, ORIGINAL_SRC, ALPN] }),
  )
  const known = loadFullRegistry()
  return (made = createRegistry(known, ...[...more].filter((type) => !known.get(type.typeName))))
}
