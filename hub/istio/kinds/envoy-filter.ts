/** EnvoyFilter (networking.istio.io), as far as MQTT needs it: listeners that are added, network filters replaced. */
import * as z from 'zod'
import { name, port, refuse, workloadLabels } from './fields.ts'

const CONTEXT = z.enum(['SIDECAR_INBOUND', 'SIDECAR_OUTBOUND'], {
  error: 'must be SIDECAR_INBOUND or SIDECAR_OUTBOUND',
})
const WHICH =
  'only listeners that are added (LISTENER, ADD) and network filters that are replaced (NETWORK_FILTER, REPLACE) are covered'

const match = z.strictObject({
  context: CONTEXT,
  listener: z
    .strictObject({
      name: name.optional(),
      portNumber: port.optional(),
      filterChain: z
        .strictObject({
          filter: z.strictObject({ name }),
          name: refuse('match by port'),
          sni: refuse('match by port'),
        })
        .optional(),
    })
    .optional(),
  routeConfiguration: refuse(WHICH),
  cluster: refuse(WHICH),
  proxy: refuse('all nodes of a hub are of one version'),
})

const patch = z
  .strictObject({
    applyTo: z.enum(['LISTENER', 'NETWORK_FILTER'], { error: `is not covered: ${WHICH}` }),
    match,
    patch: z.strictObject({
      operation: z.enum(['ADD', 'REPLACE'], { error: `is not covered: ${WHICH}` }),
      value: z.record(z.string(), z.unknown()),
      filterClass: refuse('it has no effect on these'),
    }),
  })
  .superRefine(({ applyTo, match: m, patch: p }, found) => {
    const wrong = (path: string[], message: string): void => found.addIssue({ code: 'custom', path, message })
    if ((applyTo === 'LISTENER') !== (p.operation === 'ADD')) wrong(['patch', 'operation'], `is not covered: ${WHICH}`)
    if (applyTo === 'LISTENER' && m.listener) wrong(['match', 'listener'], 'does not count where a listener is added')
    if (applyTo === 'NETWORK_FILTER' && !m.listener?.filterChain)
      wrong(['match'], 'must name the filter that is replaced: listener.filterChain.filter.name')
    if (typeof p.value['name'] !== 'string') wrong(['patch', 'value'], 'must have a name')
  })

export const envoyFilter = z.strictObject({
  workloadSelector: workloadLabels.optional(),
  targetRefs: refuse('it attaches to gateways and waypoints'),
  configPatches: z.array(patch).min(1),
  priority: z.int().optional(),
})

export type EnvoyFilter = z.infer<typeof envoyFilter>
export type EnvoyPatch = z.infer<typeof patch>
