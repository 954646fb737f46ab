/** Who the client of a listener of mode `transparent` is, for its broker. */
import type { ProxyVersion } from '../../../model/listener.ts'
import type { Connection } from '../../connection.ts'
import { encodeProxyHeader, type ProxiedClientTls } from '../../proxy-header.ts'
import type { MakeHeader } from '../../upstream-api.ts'
import { readCommonName } from '../users/certificate-user.ts'

type Client = Pick<Connection, 'remote' | 'local' | 'tls' | 'proxied'>

/** @returns undefined: the broker is told nothing */
export function describeClient(client: Client, version: ProxyVersion | undefined): MakeHeader | undefined {
  if (version === undefined) return undefined
  const { remote, local } = client
  const tls = describeTls(client)
  return () => encodeProxyHeader(version, { source: remote, destination: local, ...(tls && { tls }) })
}
/** Where a load balancer's word counts, what it has shown itself does not. */
function describeTls({ tls, proxied }: Client): ProxiedClientTls | undefined {
  if (proxied)
    return proxied.commonName === undefined ? undefined : { version: '', serverName: '', certificate: proxied }
  if (!tls) return undefined
  const { version, serverName, peer } = tls
  return { version, serverName, certificate: peer && { commonName: readCommonName(peer.subject) } }
}
