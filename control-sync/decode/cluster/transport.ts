/** envoy.config.core.v3.TransportSocket of a cluster → Transport: in clear, TLS, with a PROXY header before either. */
import type { Cluster, TlvTypes, Transport } from '../../../model/cluster.ts'
import type { Cluster as XCluster } from '../../../proto/gen/envoy/config/cluster/v3/cluster_pb.ts'
import type { TransportSocket } from '../../../proto/gen/envoy/config/core/v3/base_pb.ts'
import {
  ProxyProtocolConfig_Version as Version,
  ProxyProtocolPassThroughTLVs_PassTLVsMatchType as Match,
  type ProxyProtocolPassThroughTLVs,
} from '../../../proto/gen/envoy/config/core/v3/proxy_protocol_pb.ts'
import {
  ProxyProtocolUpstreamTransportSchema,
  type ProxyProtocolUpstreamTransport,
} from '../../../proto/gen/envoy/extensions/transport_sockets/proxy_protocol/v3/upstream_proxy_protocol_pb.ts'
import {
  InternalUpstreamTransportSchema,
  type InternalUpstreamTransport,
} from '../../../proto/gen/envoy/extensions/transport_sockets/internal_upstream/v3/internal_upstream_pb.ts'
import { RawBufferSchema } from '../../../proto/gen/envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer_pb.ts'
import { UpstreamTlsContextSchema } from '../../../proto/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts'
import { selectTextFields } from '../endpoint.ts'
import { readEffectiveType, noteOnly, readTypeName, unpack } from '../fields/any.ts'
import { hasUnknown, noteIgnored, type DecodePath } from '../fields/decode-path.ts'
import { decodeUpstreamTls, type AutoNames } from '../tls.ts'

export const PLAINTEXT: Transport = { kind: 'plaintext' }

export function decodeTransportMatches(
  at: DecodePath,
  from: XCluster['transportSocketMatches'],
  auto: AutoNames,
): Cluster['transportMatches'] {
  return from.flatMap((one, i) => {
    const here = at.item(i).in('transport_socket')
    const match = selectTextFields(one.match)
    return here.piece(
      () => {
        if (Object.keys(match).length < Object.keys(one.match ?? {}).length)
          at.item(i).in('match').issue('only text is compared')
        const made = decodeTransport(here, one.transportSocket, auto)
        return made ? [{ name: one.name, match, transport: made }] : []
      },
      // Its endpoints get nothing, and are not left to the next match.
      (reason) => [{ name: one.name, match, transport: { kind: 'blocked', reason } }],
    )
  })
}

/** @returns undefined: none is named, or it cannot be taken */
export function decodeTransport(
  at: DecodePath,
  socket: TransportSocket | undefined,
  auto: AutoNames,
): Transport | undefined {
  if (!socket) return undefined
  const any = socket.configType.value
  const type = readTypeName(any)
  const here = at.in('typed_config')
  if (type === RawBufferSchema.typeName || (type === '' && socket.name === 'envoy.transport_sockets.raw_buffer')) {
    noteOnly(here, any, RawBufferSchema)
    return PLAINTEXT
  }
  const proxied = unpack(here, any, ProxyProtocolUpstreamTransportSchema)
  if (proxied) return withHeader(here, proxied, auto)
  const internal = unpack(here, any, InternalUpstreamTransportSchema)
  if (internal) return throughListener(here, internal, auto)
  const context = unpack(here, any, UpstreamTlsContextSchema)
  if (context) {
    noteIgnored(here, UpstreamTlsContextSchema, context)
    return { kind: 'tls', tls: decodeUpstreamTls(here, context, auto) }
  }
  if (type !== UpstreamTlsContextSchema.typeName)
    here.issue(`the transport socket ${readEffectiveType(here, any) || socket.name} is not supported`)
  return undefined
}

/** What the metadata that it passes says, stands at the endpoint (decode/endpoint.ts). */
function throughListener(at: DecodePath, from: InternalUpstreamTransport, auto: AutoNames): Transport | undefined {
  noteIgnored(at, InternalUpstreamTransportSchema, from)
  const here = at.in('transport_socket')
  if (!from.transportSocket) here.issue('is missing')
  const inner = decodeTransport(here, from.transportSocket, auto)
  if (!inner || inner.kind === 'blocked') return inner
  if (inner.internal) here.issue('stands twice')
  return { ...inner, internal: true }
}

/** A header before a header would be the client's words to whoever reads one. */
function withHeader(at: DecodePath, from: ProxyProtocolUpstreamTransport, auto: AutoNames): Transport | undefined {
  noteIgnored(at, ProxyProtocolUpstreamTransportSchema, from)
  const inner = decodeTransport(at.in('transport_socket'), from.transportSocket, auto)
  if (!from.transportSocket) at.in('transport_socket').issue('is missing')
  if (!inner || inner.kind === 'blocked') return inner
  if (inner.header) at.in('transport_socket').issue('stands twice: one header is written')
  const here = at.in('config')
  if (from.config && from.config.version !== Version.V1 && from.config.version !== Version.V2)
    here.in('version').issue(`unknown value ${String(from.config.version)}`)
  return {
    ...inner,
    header: {
      version: from.config?.version === Version.V2 ? 2 : 1,
      passes: decodeTlvTypes(here.in('pass_through_tlvs'), from.config?.passThroughTlvs),
      added: (from.config?.addedTlvs ?? []).map((tlv, i) => {
        const place = here.in('added_tlvs').item(i)
        checkType(place.in('type'), tlv.type)
        if (hasUnknown(tlv)) place.issue('only a value is supported')
        if (tlv.value.length > MAX_TLV_BYTES) place.in('value').issue(`has more than ${MAX_TLV_BYTES} bytes`)
        return { type: tlv.type, value: Buffer.from(tlv.value) }
      }),
    },
  }
}
/** Headers that are longer than a packet may not be read by whoever gets them. */
const MAX_TLV_BYTES = 1024

/** None where nothing is said. */
export function decodeTlvTypes(at: DecodePath, from: ProxyProtocolPassThroughTLVs | undefined): TlvTypes {
  if (!from) return new Set()
  if (from.matchType === Match.INCLUDE_ALL) return 'all'
  if (from.matchType !== Match.INCLUDE) at.in('match_type').issue(`unknown value ${String(from.matchType)}`)
  for (const [i, type] of from.tlvType.entries()) checkType(at.in('tlv_type').item(i), type)
  return new Set(from.tlvType)
}
function checkType(at: DecodePath, type: number): void {
  if (type > 255) at.issue('is above 255')
}
