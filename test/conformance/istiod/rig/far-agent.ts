/**
 * Two services with addresses of their own, one HTTP and one TCP, whose workload is an agent: what applications of
 * another node call by address.
 */
import { serviceEntry, SIDECAR_LABEL } from './app.ts'
import { peerAuthentication } from './inbound.ts'
import type { Istiod } from './istiod.ts'
import { MeshAgent, NODE_IP } from './mesh-agent.ts'
import type { Finally } from '../../programs.ts'

export const HTTP_VIP = '10.96.0.10'
export const TCP_VIP = '10.96.0.11'
export const HTTP_PORT = 80
export const TCP_PORT = 9000
/** Of the agent, whose ports are these services. */
const SERVING_IP = NODE_IP

const served = (name: string, vip: string, port: number, protocol: string): string =>
  serviceEntry(name, {
    namespace: 'edge',
    port,
    protocol,
    vip,
    endpoints: [{ address: SERVING_IP, port, labels: SIDECAR_LABEL, serviceAccount: 'gateway' }],
  })

/** Istio YAML: `orders` over HTTP, `raw` over TCP. */
export const FAR_SERVICES = served('orders', HTTP_VIP, HTTP_PORT, 'HTTP') + served('raw', TCP_VIP, TCP_PORT, 'TCP')

/**
 * Istio YAML: where they lead to behind the agent, with STRICT mTLS. For the whole namespace: istiod takes the agent
 * for the workload of both services, with their labels.
 * @param orders port of 127.0.0.1, as `raw`
 */
export const farIngress = (orders: number, raw: number): string => `---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: edge, namespace: edge}
spec:
  ingress:
  - {port: {number: ${HTTP_PORT}, protocol: HTTP, name: http}, bind: ${SERVING_IP}, defaultEndpoint: "127.0.0.1:${orders}"}
  - {port: {number: ${TCP_PORT}, protocol: TCP, name: tcp}, bind: ${SERVING_IP}, defaultEndpoint: "127.0.0.1:${raw}"}
  egress: [{hosts: ["~/*"]}]
${peerAuthentication('STRICT')}`

/** The agent, with the ports of both open. */
export async function startFarAgent(t: Finally, istiod: Istiod): Promise<void> {
  const far = await MeshAgent.create(t, istiod)
  await far.start()
  await far.status(
    'its ports are open',
    (s) => s.listeners.filter((l) => l.address.startsWith(SERVING_IP) && l.state === 'listening').length === 2,
  )
}
