/** The mesh of bench -- sync: a real istiod with N services, and what is changed in it. */
import type { Finally } from '../../conformance/programs.ts'
import { serviceEntry } from '../../conformance/istiod/rig/app.ts'
import { Istiod } from '../../conformance/istiod/rig/istiod.ts'
import { LOAD_CORE, pin } from '../measure.ts'

export type Mesh = {
  readonly istiod: Istiod
  /** Everything as at the beginning. */
  reset(): void
  /** Another endpoint of the first service. */
  changeEndpoint(): void
  addService(): void
  /** Every cluster changes (its timeout and its limits), and istiod sends everything anew. */
  changeAll(): void
}

const NO_STATS = `apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: none, namespace: istio-system}
spec: {metrics: [{overrides: [{disabled: true}]}]}
`

/**
 * Three endpoints each, in a network that is not there.
 * @param portOf of the service of that number
 * @param filters `envoy`: without the filters that Istio builds into its own Envoy (istio.alpn, istio.stats,
 * istio.metadata_exchange) and Envoy itself has not
 */
export async function startMesh(
  t: Finally,
  size: number,
  portOf: (i: number) => number,
  filters: 'istio' | 'envoy' = 'istio',
): Promise<Mesh> {
  const istiod = await Istiod.create(
    t,
    filters === 'envoy' ? { env: { PILOT_ENABLE_METADATA_EXCHANGE: 'false', PILOT_ENABLE_ALPN_FILTER: 'false' } } : {},
  )
  const service = (i: number, firstPort: number): string =>
    serviceEntry(`svc-${i}`, {
      port: portOf(i),
      endpoints: [0, 1, 2].map((k) => ({
        address: `10.${k + 1}.${i >> 8}.${i & 255}`,
        port: i === 0 ? firstPort : 8080,
      })),
    })
  const services = (firstPort: number): string => Array.from({ length: size }, (_, i) => service(i, firstPort)).join('')
  const reset = (): void => {
    istiod.write('services', services(8080))
    istiod.write('more', '')
    istiod.write('tuning', '')
  }
  reset()
  if (filters === 'envoy') istiod.write('telemetry', NO_STATS)
  await istiod.start()
  pin(istiod.process.child.pid!, LOAD_CORE)
  return {
    istiod,
    reset,
    changeEndpoint: () => {
      istiod.write('services', services(9090))
    },
    addService: () => {
      istiod.write('more', service(size, 8080))
    },
    changeAll: () => {
      istiod.write(
        'tuning',
        `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: all, namespace: shop}
spec: {host: "*.shop.svc.cluster.local", trafficPolicy: {connectionPool: {tcp: {connectTimeout: 3s}, http: {http2MaxRequests: 4000}}}}
`,
      )
    },
  }
}
