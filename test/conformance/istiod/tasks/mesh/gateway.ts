/** A third machine: meshlet as a gateway (node.type: router), at an address of its own beside the callers. */
import { once } from 'node:events'
import tls from 'node:tls'
import type { Finally } from '../../../programs.ts'
import { giveToMeshlet, MESHLET_UID } from '../../rig/capture.ts'
import type { Istiod } from '../../rig/istiod.ts'
import { MeshAgent } from '../../rig/mesh-agent.ts'
import { shell } from '../../rig/network-namespace.ts'
import { call, type Called, type CallOptions } from './calls.ts'
import { UPSTREAM_PORT } from './names.ts'
import { GATEWAY_IP, GATEWAY_NETWORK } from './services.ts'

/** Where secrets of gateways are. */
export const GATEWAY_NAMESPACE = 'istio-system'

/** Nobody's user, who may open ports below 1024 (AmbientCapabilities= of the unit), and read Node where it is root's. */
const LAUNCHER = [
  'setpriv',
  `--reuid=${MESHLET_UID}`,
  '--clear-groups',
  '--inh-caps=+net_bind_service,+dac_override',
  '--ambient-caps=+net_bind_service,+dac_override',
]

export async function createGateway(t: Finally, istiod: Istiod): Promise<MeshAgent> {
  shell(`ip addr add ${GATEWAY_IP}/24 dev cable`)
  const gateway = await MeshAgent.create(t, istiod, {
    name: 'gateway-1',
    namespace: GATEWAY_NAMESPACE,
    serviceAccount: 'gateway',
    app: 'gateway',
    ip: GATEWAY_IP,
    node: [
      'type: router',
      `network: ${GATEWAY_NETWORK}`,
      'metadata: {PROXY_CONFIG: {gatewayTopology: {numTrustedProxies: 1}}}',
    ],
    rest: `dns: {port: 15054, upstreams: ["127.0.0.1:${UPSTREAM_PORT}"]}\n`,
    launcher: LAUNCHER,
  })
  giveToMeshlet(gateway)
  return gateway
}

export type TlsClient = Pick<tls.ConnectionOptions, 'ca' | 'cert' | 'key' | 'ALPNProtocols' | 'maxVersion'>

/** As somebody outside of the mesh. @param url its host is the SNI, too; https: TLS that believes `client.ca` alone */
export function callGateway(url: string, client: TlsClient = {}, o: CallOptions = {}): Promise<Called> {
  const { hostname, port, protocol } = new URL(url)
  if (protocol === 'http:') return call(url, { to: GATEWAY_IP, ...o })
  const connect = async (): Promise<tls.TLSSocket> => {
    const socket = tls.connect({ host: GATEWAY_IP, port: Number(port || 443), servername: hostname, ...client })
    socket.setTimeout(5_000, () => socket.destroy(new Error('no handshake in 5 s')))
    await once(socket, 'secureConnect')
    return socket
  }
  return call(url, { to: GATEWAY_IP, connect, ...o })
}
