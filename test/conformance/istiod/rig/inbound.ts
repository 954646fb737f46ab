/**
 * The agent as the entrance of a workload: the Istio YAML that makes it one, and callers from the mesh and from
 * outside.
 */
import tls from 'node:tls'
import http from 'node:http'
import type { Identity } from '../../../../model/identity.ts'
import { SIDECAR_LABEL } from './app.ts'
import { NODE_IP, request, type Answer, type RequestOptions } from './mesh-agent.ts'

export type Ports = {
  readonly [name: string]: { readonly port: number; readonly protocol: string; readonly to: number }
}

/** A service whose endpoints are the WorkloadEntries of the node. */
export const edgeService = (ports: {
  readonly [name: string]: { readonly port: number; readonly protocol: string }
}): string => `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: edge, namespace: edge}
spec:
  hosts: [edge.edge.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [${Object.entries(ports)
    .map(([name, p]) => `{number: ${p.port}, name: ${name}, protocol: ${p.protocol}}`)
    .join(', ')}]
  workloadSelector: {labels: {app: edge}}
`

/** The node's, as an operator writes it. */
export const edgeEntry = `---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: edge-1, namespace: edge}
spec: {address: ${NODE_IP}, labels: {app: edge, ${SIDECAR_LABEL}}, serviceAccount: gateway}
`

/** The group that the node registers itself in. @param more further fields of its spec, a line each */
export const edgeGroup = (more = ''): string => `---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: gw, namespace: edge}
spec:
  metadata: {labels: {app: edge, ${SIDECAR_LABEL}}}
  template: {serviceAccount: gateway, network: site-1}
${more}`

/**
 * Ports on the node's address that lead to applications on 127.0.0.1.
 * @param egress `~/*`: the node calls nobody, and another agent on this machine may open the services' ports
 */
export const edgeSidecar = (ports: Ports, egress = '*/*'): string => `---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: edge, namespace: edge}
spec:
  workloadSelector: {labels: {app: edge}}
  ingress: [${Object.entries(ports)
    .map(
      ([name, p]) =>
        `{port: {number: ${p.port}, protocol: ${p.protocol}, name: ${name}}, bind: ${NODE_IP}, defaultEndpoint: "127.0.0.1:${p.to}"}`,
    )
    .join(', ')}]
  egress: [{hosts: ["${egress}"]}]
`

export const ingressYaml = (ports: Ports, egress?: string): string =>
  edgeService(ports) + edgeEntry + edgeSidecar(ports, egress)

export const peerAuthentication = (mode: 'STRICT' | 'PERMISSIVE' | 'DISABLE'): string => `---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: edge, namespace: edge}
spec: {mtls: {mode: ${mode}}}
`

/** Without TLS, as a program that is in no mesh. */
export function plainCall(port: number, path: string, o: RequestOptions = {}): Promise<Answer> {
  return request({ ...o, host: NODE_IP, port, path })
}

/** As a sidecar's client half would call: mutual TLS, Istio's ALPN names, the mesh's server name. */
export async function meshCall(
  identity: Identity,
  port: number,
  path: string,
  { host = NODE_IP, ...o }: RequestOptions & { readonly host?: string } = {},
): Promise<Answer & { readonly peer?: string | undefined }> {
  let socket: tls.TLSSocket
  try {
    socket = await meshConnect(identity, { host, port, alpn: ['istio-http/1.1', 'istio', 'http/1.1'] })
  } catch (err) {
    return { status: 0, body: String(err), headers: {} }
  }
  const peer = socket.getPeerCertificate().subjectaltname
  const agent = new http.Agent({ keepAlive: false })
  agent.createConnection = () => socket
  const answer = await request({ ...o, host, port, path, agent })
  socket.destroy()
  return { ...answer, peer }
}

const HANDSHAKE_MS = 5_000

/**
 * Rejects when the handshake fails. In TLS 1.3 a server that refuses the client's certificate says so only afterwards.
 */
export function meshConnect(
  identity: Identity,
  {
    host = NODE_IP,
    port,
    alpn,
    servername = `outbound_.${port}_._.edge.edge.svc.cluster.local`,
    ...settings
  }: tls.ConnectionOptions & { readonly port: number; readonly alpn: readonly string[] },
): Promise<tls.TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({
      ...settings,
      host,
      port,
      servername,
      ALPNProtocols: [...alpn],
      key: identity.keyPem,
      cert: identity.chainPem,
      ca: identity.rootsPem,
      // SPIFFE certificates carry no host name; the chain is checked.
      checkServerIdentity: () => undefined,
    })
    socket.setTimeout(HANDSHAKE_MS, () => {
      socket.destroy(new Error(`no handshake in ${HANDSHAKE_MS} ms`))
    })
    socket.once('secureConnect', () => {
      socket.setTimeout(0)
      socket.off('error', reject)
      socket.on('error', () => {
        /* told by the request */
      })
      resolve(socket)
    })
    socket.once('error', reject)
  })
}
