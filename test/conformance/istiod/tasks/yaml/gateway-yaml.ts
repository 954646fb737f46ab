/** Istio YAML of gateways. */

/** Named `default/NAME`. @param servers YAML, one a line */
export const gateway = (name: string, ...servers: readonly string[]): string => `---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: ${name}, namespace: default}
spec:
  selector: {app: gateway}
  servers:
${servers.map((s) => `  - ${s}\n`).join('')}`

/** Behind `default/gw`. @param routes YAML of its spec below `gateways` */
export const behind = (name: string, host: string, routes: string): string => `---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ${name}, namespace: default}
spec:
  hosts: ["${host}"]
  gateways: [default/gw]
${routes}`
