/** Network filters in front of the one that ends a chain. */
import type { Any } from '@bufbuild/protobuf/wkt'
import type { ConnectionAuthz } from '../../../model/http/ext-authz.ts'
import type { ConnectionLimit } from '../../../model/http/connection-limit.ts'
import type { Codec, FilterChain } from '../../../model/listener.ts'
import { isAboutMqtt, type Policy } from '../../../model/policy.ts'
import { PEER_EXCHANGE, type StatsFilter } from '../../../model/telemetry.ts'
import type { DownstreamTls } from '../../../model/tls.ts'
import type { Filter } from '../../../proto/gen/envoy/config/listener/v3/listener_components_pb.ts'
import { ExtAuthzSchema } from '../../../proto/gen/envoy/extensions/filters/network/ext_authz/v3/ext_authz_pb.ts'
import {
  FilterConfigSchema as SniForwardProxySchema,
  type FilterConfig as SniForwardProxy,
} from '../../../proto/gen/envoy/extensions/filters/network/sni_dynamic_forward_proxy/v3/sni_dynamic_forward_proxy_pb.ts'
import { RBACSchema } from '../../../proto/gen/envoy/extensions/filters/network/rbac/v3/rbac_pb.ts'
import { readEffectiveType, readTypeName, unpack } from '../fields/any.ts'
import { noteIgnored, type DecodePath } from '../fields/decode-path.ts'
import { DONE_ANYWAY, OBSERVING_NETWORK_FILTERS, SNI_CLUSTER } from '../fields/known-filters.ts'
import { findSkippedExtension } from '../fields/skipped.ts'
import { resolveStruct } from '../fields/typed-struct.ts'
import { decodePolicy } from '../policy.ts'
import { decodeConnectionLimit } from '../rate-limit/connections.ts'
import { decodeStats, isPeerExchange } from '../telemetry/filters.ts'
import { decodeConnectionAuthz } from './connection-authz.ts'

export type ChainFilters = Pick<FilterChain, 'policies' | 'limits' | 'authz' | 'policiesBefore' | 'stats'>

export class FoundFilters {
  readonly #isMqtt: boolean
  readonly #policies: Policy[] = []
  readonly #limits: ConnectionLimit[] = []
  readonly #authz: ConnectionAuthz[] = []
  readonly #policiesBefore: number[] = []
  #stats: StatsFilter | undefined
  #bySni = false
  #forwardPort: number | undefined
  /** The chain takes a preamble in front of the bytes of a connection (istio.metadata_exchange). */
  exchangesPeers = false

  /** @param isMqtt what ends the chain speaks MQTT */
  constructor(isMqtt: boolean) {
    this.#isMqtt = isMqtt
  }

  /** @returns false for a filter that is not implemented */
  add(at: DecodePath, { name }: Filter, found: Any | undefined): boolean {
    const here = at.in('typed_config')
    const type = readEffectiveType(here, found)
    if (type === '' ? name === SNI_CLUSTER.name : type === SNI_CLUSTER.type) {
      this.#bySni = true
      return true
    }
    if (OBSERVING_NETWORK_FILTERS.has(type)) {
      this.#stats ??= decodeStats(here, found)
      this.exchangesPeers ||= isPeerExchange(here, found)
      if (!DONE_ANYWAY.has(type)) at.skip(findSkippedExtension(type))
      return true
    }
    return this.#addRefusing(here, resolveStruct(here, found))
  }
  #addRefusing(at: DecodePath, any: Any | undefined): boolean {
    const forward = unpack(at, any, SniForwardProxySchema)
    if (forward) {
      this.#forwardPort = sniForwardPort(at, forward)
      return true
    }
    const rbac = unpack(at, any, RBACSchema)
    if (rbac) {
      noteIgnored(at, RBACSchema, rbac)
      const policy = decodePolicy(at, rbac, { isMqtt: this.#isMqtt })
      if (policy) this.#policies.push(policy)
      return true
    }
    const limit = decodeConnectionLimit(at, any)
    if (limit) {
      if (limit !== 'off') this.#limits.push(limit)
      return true
    }
    if (readTypeName(any) !== ExtAuthzSchema.typeName) return false
    const authz = decodeConnectionAuthz(at, any)
    if (authz) {
      this.#authz.push(authz)
      this.#policiesBefore.push(this.#policies.length)
    }
    return true
  }

  ofChain(): ChainFilters {
    return {
      policies: this.#policies,
      ...(this.#limits.length > 0 && { limits: this.#limits }),
      ...(this.#authz.length > 0 && { authz: this.#authz }),
      ...(this.#policiesBefore.some((count) => count < this.#policies.length) && {
        policiesBefore: this.#policiesBefore,
      }),
      ...(this.#stats && { stats: this.#stats }),
    }
  }
  /** What filters before it say. Policies about topics are asked about each packet, too. */
  withFilters(codec: Codec): Codec {
    if (codec.kind === 'tcp' && this.#forwardPort !== undefined)
      return { kind: 'tcp', tcp: { ...codec.tcp, forwardPort: this.#forwardPort } }
    if (codec.kind === 'tcp' && this.#bySni) return { kind: 'tcp', tcp: { ...codec.tcp, bySni: true } }
    if (codec.kind !== 'mqtt') return codec
    const meshPolicies = this.#policies.filter(isAboutMqtt)
    return meshPolicies.length === 0 ? codec : { ...codec, mqtt: { ...codec.mqtt, meshPolicies } }
  }
}

/** Envoy's default is that of https. */
function sniForwardPort(at: DecodePath, { portSpecifier: by }: SniForwardProxy): number {
  const port = by.case === 'portValue' ? by.value : 443
  if (port < 1 || port > 65_535) at.in('port_value').issue('must be 1 to 65535')
  return port
}

/** Nobody is promised a preamble that only metadata exchange takes from in front of the application's bytes. */
export function removePreamble(tls: DownstreamTls): DownstreamTls {
  return { ...tls, alpnProtocols: tls.alpnProtocols.filter((name) => name !== PEER_EXCHANGE) }
}
