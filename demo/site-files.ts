/** hub.yaml and each node's agent.yaml, as an operator would write them. */
import fs from 'node:fs'
import path from 'node:path'
import { BROKER_CLUSTER, TRUST_DOMAIN } from './resources.ts'

type SitePorts = Readonly<
  Record<
    | 'hubPort'
    | 'apiPort'
    | 'consolePort'
    | 'hubAdmin'
    | 'viaLink'
    | 'edgeAdmin'
    | 'edgeProxy'
    | 'edgeMqtt'
    | 'cloudAdmin'
    | 'cloudMqtt'
    | 'cloudMqtts'
    | 'lineAdmin'
    | 'lineProxy',
    number
  >
>

export function writeConfiguration(folder: string, p: SitePorts): void {
  const files = {
    'hub.yaml': hub(folder, p),
    'edge.yaml': edge(folder, p),
    'cloud.yaml': cloud(folder, p),
    'line2.yaml': line2(folder, p),
  }
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(folder, name), text)
}

const hub = (
  folder: string,
  { hubPort, apiPort, consolePort, hubAdmin }: SitePorts,
): string => `listen: 127.0.0.1:${hubPort}
api: {listen: "127.0.0.1:${apiPort}"}
console: {listen: "127.0.0.1:${consolePort}"}
resources: ${folder}/resources
state: ${folder}/hub
trustDomain: ${TRUST_DOMAIN}
dnsNames: [127.0.0.1, hub.demo.mesh]
admin: {port: ${hubAdmin}}
# A change of the folder comes in waves as soon as there are three nodes.
rollout: {atOnceBelow: 3, waves: "30%,100%", soakSec: 2, awaySec: 10}
`

const control = (folder: string, port: number, node: string): string =>
  `control:\n  address: 127.0.0.1:${port}\n  serverName: hub.demo.mesh\n  roots: ${folder}/roots.pem\n  token: ${folder}/${node}.token\n`

const edge = (
  folder: string,
  { edgeAdmin, edgeProxy, edgeMqtt, viaLink }: SitePorts,
): string => `# The node at the site: it reaches hub and cloud only through the link.
node: {name: edge, namespace: edge, serviceAccount: gateway}
${control(folder, viaLink, 'edge')}state: ${folder}/edge
admin: {port: ${edgeAdmin}}
listeners:
- {name: http-proxy, kind: http_proxy, port: ${edgeProxy}}
- {name: mqtt, kind: mqtt, port: ${edgeMqtt}}
mqtt:
  routes:
  - {match: telemetry/#, direction: up, cluster: "${BROKER_CLUSTER}"}
  - {match: command/#, direction: down, cluster: "${BROKER_CLUSTER}"}
`

const cloud = (
  folder: string,
  { hubPort, cloudAdmin, cloudMqtt, cloudMqtts }: SitePorts,
): string => `# The node beside the services: mTLS in, plain text to what stands beside it.
node: {name: cloud, namespace: cloud, serviceAccount: gateway}
${control(folder, hubPort, 'cloud')}state: ${folder}/cloud
admin: {port: ${cloudAdmin}}
listeners:
- {name: mqtt, kind: mqtt, port: ${cloudMqtt}}
- {name: mqtts, kind: mqtt, port: ${cloudMqtts}, tls: {mode: mutual}}
`

const line2 = (
  folder: string,
  { lineAdmin, lineProxy }: SitePorts,
): string => `# Where its state and its ports are; meshlet join adds who it is and where its hub is.
state: ${folder}/line2
admin: {port: ${lineAdmin}}
listeners:
- {name: http-proxy, kind: http_proxy, port: ${lineProxy}}
`
