/**
 * A mesh with ambient on, of one application behind an agent that takes tunnels (HBONE) and one agent that opens them,
 * with mutual TLS everywhere and one client that may come.
 */
import { generateKeyPairSync } from 'node:crypto'
import fs from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import path from 'node:path'
import { once } from 'node:events'
import { signLeaf } from '../../../../hub/ca/root.ts'
import { freePorts } from '../../../../tools/free-ports.ts'
import { temporaryFolder, type Finally } from '../../programs.ts'
import { Istiod } from './istiod.ts'
import { CLOUD, MeshAgent, NODE_IP } from './mesh-agent.ts'

export const HBONE_PORT = 15_008
const HOST = 'app.edge.svc.cluster.local'

export type AmbientOptions = {
  /** As if istiod knew nothing of tunnels here: agent.yaml alone says that they are taken. */
  readonly withoutChains?: boolean
}

export class Ambient {
  readonly istiod: Istiod
  /** In front of the application. */
  readonly edge: MeshAgent
  readonly cloud: MeshAgent
  /** Of the application, at NODE_IP: HTTP, and what sends back what it gets. */
  readonly ports: { readonly http: number; readonly tcp: number }
  private constructor(istiod: Istiod, edge: MeshAgent, cloud: MeshAgent, ports: Ambient['ports']) {
    this.istiod = istiod
    this.edge = edge
    this.cloud = cloud
    this.ports = ports
  }

  static async start(t: Finally, { withoutChains = false }: AmbientOptions = {}): Promise<Ambient> {
    const [httpPort, tcpPort] = (await freePorts(2)) as [number, number]
    const app = http.createServer((req, res) => res.end(JSON.stringify(req.headers))).listen(httpPort, NODE_IP)
    const echo = net.createServer((socket) => socket.on('error', () => {}).pipe(socket)).listen(tcpPort, NODE_IP)
    await Promise.all([once(app, 'listening'), once(echo, 'listening')])
    t.after(() => {
      app.closeAllConnections()
      app.close()
      echo.close()
    })
    const istiod = await Istiod.create(t, { store: 'kube', env: { PILOT_ENABLE_AMBIENT: 'true' } })
    istiod.write('ambient.yaml', meshYaml(httpPort, tcpPort))
    await istiod.start()
    const edge = await MeshAgent.create(t, istiod, {
      node: [`metadata: {INTERCEPTION_MODE: REDIRECT${withoutChains ? ', ENABLE_HBONE: null' : ''}}`],
      listeners: ['{name: tunnels, kind: hbone}'],
    })
    await edge.start()
    const cloud = await MeshAgent.create(t, istiod, {
      ...CLOUD,
      listeners: [`{name: tcp, kind: tcp, port: ${await cloudPort()}, cluster: outbound|9000||${HOST}}`],
    })
    await cloud.start()
    return new Ambient(istiod, edge, cloud, { http: httpPort, tcp: tcpPort })
  }
  readonly url = `http://${HOST}/`

  /** Who may come: by default the cloud's agent. */
  allow(who: string): void {
    this.istiod.write('allow.yaml', allowYaml(who))
  }
  /** Files of a certificate of the mesh, in Istio's names. */
  issue(t: Finally, uri: string): string {
    const folder = temporaryFolder(t)
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
    const notBeforeMs = Math.floor(Date.now() / 1000) * 1000 - 60_000
    const { root } = this.istiod.ca
    const leaf = signLeaf(root, {
      publicKey,
      notBeforeMs,
      notAfterMs: notBeforeMs + 3_600_000,
      altNames: [{ kind: 'uri', value: uri }],
    })
    const files = {
      'cert-chain.pem': leaf.pem,
      'key.pem': privateKey.export({ type: 'pkcs8', format: 'pem' }),
      'root-cert.pem': root.certificatePem,
    }
    for (const [name, pem] of Object.entries(files)) fs.writeFileSync(path.join(folder, name), pem, { mode: 0o600 })
    return folder
  }
}

let made: number | undefined
export async function cloudPort(): Promise<number> {
  made ??= (await freePorts(1))[0]!
  return made
}

const allowYaml = (who: string): string => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: who, namespace: edge}
spec: {action: ALLOW, rules: [{from: [{source: {principals: ["${who}"]}}]}]}
`
const meshYaml = (httpPort: number, tcpPort: number): string => `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: app, namespace: edge}
spec:
  hosts: [${HOST}]
  addresses: [10.99.0.2]
  ports:
  - {number: 80, name: http, protocol: HTTP, targetPort: ${httpPort}}
  - {number: 9000, name: tcp, protocol: TCP, targetPort: ${tcpPort}}
  resolution: STATIC
  location: MESH_INTERNAL
  workloadSelector: {labels: {app: edge}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: edge-1, namespace: edge}
spec:
  address: ${NODE_IP}
  serviceAccount: gateway
  labels: {app: edge, networking.istio.io/tunnel: http, security.istio.io/tlsMode: disabled}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
`
