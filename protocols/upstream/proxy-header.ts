/** The PROXY header that a cluster wants before everything else (transport socket upstream_proxy_protocol). */
import type { Address } from '../../core/os/network.ts'
import type { ProxyHeader, Tlv } from '../../model/cluster.ts'
import { encodeProxyHeader } from '../proxy-header.ts'
import type { ClientConnection } from '../upstream-api.ts'

/** No address of IP: of version 2 it makes a connection of our own. */
const NOWHERE: Address = { host: '', port: 0 }

/**
 * @param client undefined: nobody's but ours, such as a health check
 * @param own the connection that it begins
 */
export function writeProxyHeader(
  { version, passes, added }: ProxyHeader,
  client: ClientConnection | undefined,
  own: { readonly local: Address; readonly remote: Address },
): Buffer {
  if (!client)
    return version === 1
      ? encodeProxyHeader(1, { source: own.local, destination: own.remote })
      : encodeProxyHeader(2, { source: NOWHERE, destination: NOWHERE })
  return encodeProxyHeader(version, {
    source: client.remote,
    destination: client.meant ?? client.local,
    tlvs: selectTlvs(client.tlvs ?? [], passes, added),
  })
}

/** As Envoy: the configured ones first, and no client's is of a type that they have. */
function selectTlvs(ofClient: readonly Tlv[], passes: ProxyHeader['passes'], added: readonly Tlv[]): readonly Tlv[] {
  const ours = new Set(added.map(({ type }) => type))
  return [...added, ...ofClient.filter(({ type }) => !ours.has(type) && (passes === 'all' || passes.has(type)))]
}
