/** Istio YAML that several tasks have. */
import { call, type CallOptions } from '../mesh/calls.ts'
import { hostOf } from '../mesh/services.ts'
import { SIDECAR_LABEL } from '../../rig/app.ts'
import { THERE_IP } from '../../rig/outside.ts'

type Service = { readonly name: string }

export const virtualService = (service: Service, http: string): string => `---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ${service.name}, namespace: default}
spec:
  hosts: [${hostOf(service)}]
  http:
${http}`

export const routeTo = (service: Service, subset?: string): string =>
  `route: [{destination: {host: ${hostOf(service)}${subset === undefined ? '' : `, subset: ${subset}`}}}]`

/** @param o.policy YAML of its trafficPolicy */
export const destinationRule = (
  service: Service,
  { subsets = [], policy }: { readonly subsets?: readonly string[]; readonly policy?: string },
): string => `---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ${service.name}, namespace: default}
spec:
  host: ${hostOf(service)}
${policy === undefined ? '' : `  trafficPolicy: ${policy}\n`}  subsets: [${subsets.map((v) => `{name: ${v}, labels: {version: ${v}}}`).join(', ')}]
`

export const authorizationPolicy = (name: string, action: string, rules: string): string => `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ${name}, namespace: default}
spec:
  selector: {matchLabels: {workload: bookinfo}}
  action: ${action}
  rules:${rules === '' ? ' []' : ''}
${rules}`

/** How often each application answered; other answers by their status. */
export async function countApps(url: string, requests: number, o: CallOptions = {}): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (let left = requests; left > 0; left -= 20) {
    const answers = await Promise.all(Array.from({ length: Math.min(20, left) }, () => call(url, o)))
    for (const { app, status } of answers) {
      const key = app === '' ? String(status) : app
      counts[key] = (counts[key] ?? 0) + 1
    }
  }
  return counts
}

/** One service with its versions in three regions. */
export const LOCAL_URL = 'http://local.default.svc.cluster.local:9080/'
export const localized = (loadBalancer: string, { versions = ['v1', 'v2', 'v3'], outliers = true } = {}): string => `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: local, namespace: default}
spec:
  hosts: [local.default.svc.cluster.local]
  addresses: [10.96.1.9]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 9080, name: http, protocol: HTTP}]
  endpoints:
${versions.map((v) => `  - {address: ${THERE_IP}, ports: {http: 908${v[1]}}, locality: region${v[1]}/zone${v[1]}, labels: {site: ${v === 'v2' ? 'a' : 'b'}, ${SIDECAR_LABEL}}, serviceAccount: bookinfo}\n`).join('')}---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: local, namespace: default}
spec:
  host: local.default.svc.cluster.local
  trafficPolicy:
    loadBalancer: ${loadBalancer}
${outliers ? '    outlierDetection: {consecutive5xxErrors: 1, interval: 1s, baseEjectionTime: 3m, maxEjectionPercent: 100}\n' : ''}`

/** For the far machine. @param patches YAML of its configPatches */
export const envoyFilter = (name: string, patches: string): string => `---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: ${name}, namespace: default}
spec:
  workloadSelector: {labels: {workload: bookinfo}}
  configPatches:
${patches}`
