/** Traffic management: meshlet as an ingress gateway. */
import assert from 'node:assert/strict'
import { callGateway } from '../mesh/gateway.ts'
import { hostOf, SERVICES } from '../mesh/services.ts'
import type { Task } from '../task.ts'

const { httpbin } = SERVICES

/** @param servers YAML, one a line */
export const gateway = (name: string, ...servers: readonly string[]): string => `---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: ${name}, namespace: default}
spec:
  selector: {app: gateway}
  servers:
${servers.map((s) => `  - ${s}\n`).join('')}`

/** @param routes YAML of its spec below `gateways` */
export const behind = (name: string, host: string, routes: string): string => `---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ${name}, namespace: default}
spec:
  hosts: ["${host}"]
  gateways: [default/gw]
${routes}`

const HTTP = '{number: 80, name: http, protocol: HTTP}'
const toHttpbin = `route: [{destination: {host: ${hostOf(httpbin)}, port: {number: ${httpbin.port}}}}]`

export const gateways: readonly Task[] = [
  {
    name: 'Ingress gateway: HTTP',
    page: 'tasks/traffic-management/ingress/ingress-control/',
    yaml:
      gateway('gw', `{port: ${HTTP}, hosts: ["httpbin.example.com"]}`) +
      behind(
        'httpbin',
        'httpbin.example.com',
        `  http: [{match: [{uri: {prefix: /status}}, {uri: {prefix: /delay}}], ${toHttpbin}}]\n`,
      ),
    checks: [
      {
        what: 'what a VirtualService names is reached, other paths and hosts get 404',
        run: async () => {
          const { status, app, body } = await callGateway('http://httpbin.example.com/status/200')
          assert.deepEqual([status, app], [200, 'httpbin-v1'], body)
          assert.equal((await callGateway('http://httpbin.example.com/headers')).status, 404)
          assert.equal((await callGateway('http://other.example.com/status/200')).status, 404)
        },
      },
    ],
  },
]
