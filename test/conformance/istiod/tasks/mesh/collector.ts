/** What observes the mesh: Telemetry resources, and a collector outside of it. */
import { call } from './calls.ts'
import type { Mesh } from './mesh.ts'
import { EXTERNAL, OTLP_PORT, SERVICES, urlOf } from './services.ts'

const { httpbin } = SERVICES

export const telemetry = (spec: string): string => `---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: mesh-default, namespace: istio-system}
spec:
${spec}`

/** They are gathered for five seconds, as in Envoy. */
const SPANS_MS = 8_000
export const collector = (provider: string): string => `extensionProviders: [{name: otel, ${provider}}]\n`

/** Paths at which an application outside of the mesh was asked, after a request that is traced. */
export async function collectAt(mesh: Mesh, app: string): Promise<readonly string[]> {
  await mesh.seen(app)
  await call(urlOf(httpbin))
  return mesh.eventually(
    () => mesh.seen(app),
    (all) => all.length > 0,
    (all) => all.map((s) => s.url),
    SPANS_MS,
  )
}

/** The collector is an application outside of the mesh. */
export const COLLECTOR = `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: collector, namespace: istio-system}
spec:
  hosts: [collector.test]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}, {number: ${OTLP_PORT}, name: grpc, protocol: GRPC}]
  endpoints: [{address: ${EXTERNAL}}]
`
