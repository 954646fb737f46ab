/** Applications without any mesh, and the Istio YAML that tells of them. */
import { once } from 'node:events'
import http from 'node:http'
import type net from 'node:net'
import type { Finally } from '../../programs.ts'

export type Seen = { readonly method: string; readonly url: string; readonly headers: http.IncomingHttpHeaders }

/** Answers with its name; `behaviour` may answer otherwise and returns whether it did. */
export class App {
  readonly name: string
  readonly seen: Seen[] = []
  /** Address of the last caller. */
  from = ''
  behaviour: (req: http.IncomingMessage, res: http.ServerResponse) => boolean = () => false
  port = 0
  readonly address: string
  private constructor(name: string, address: string) {
    this.name = name
    this.address = address
  }

  static async start(t: Finally, name: string, address = '127.0.0.2', port = 0): Promise<App> {
    const app = new App(name, address)
    const server = http
      .createServer((req, res) => {
        app.from = req.socket.remoteAddress ?? ''
        app.seen.push({ method: req.method ?? '', url: req.url ?? '', headers: req.headers })
        if (!app.behaviour(req, res)) res.end(app.name)
      })
      .listen(port, address)
    await once(server, 'listening')
    app.port = (server.address() as net.AddressInfo).port
    t.after(() => {
      server.closeAllConnections()
      server.close()
    })
    return app
  }
}

export type Endpoint = {
  readonly address: string
  readonly port: number
  readonly labels?: string
  readonly serviceAccount?: string
}

/**
 * A mesh service with fixed addresses; its name is NAME.NAMESPACE.svc.cluster.local.
 * @param o.port of the service, not of its endpoints
 */
export function serviceEntry(
  name: string,
  o: {
    readonly namespace?: string
    readonly port: number
    readonly protocol?: string
    readonly vip?: string
    readonly endpoints: readonly Endpoint[]
  },
): string {
  const { namespace = 'shop', port, protocol = 'HTTP', vip, endpoints } = o
  return `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ${name}, namespace: ${namespace}}
spec:
  hosts: [${name}.${namespace}.svc.cluster.local]
${vip === undefined ? '' : `  addresses: [${vip}]\n`}  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: ${port}, name: main, protocol: ${protocol}}]
  endpoints:
${endpoints.map((e) => `  - {address: ${e.address}, ports: {main: ${e.port}}, labels: {app: ${name}${e.labels === undefined ? '' : `, ${e.labels}`}}${e.serviceAccount === undefined ? '' : `, serviceAccount: ${e.serviceAccount}`}}\n`).join('')}`
}
/** For endpoints with a sidecar: istiod then has clients speak mTLS to them. */
export const SIDECAR_LABEL = 'security.istio.io/tlsMode: istio'
