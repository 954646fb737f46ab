/** WorkloadEntry (networking.istio.io): one workload, as an endpoint of a ServiceEntry or as a resource of its own. */
import * as z from 'zod'
import { count, labels, port, text } from './fields.ts'

export const workloadEntry = z.strictObject({
  address: text
    .min(1)
    .refine((address) => !address.startsWith('unix://'), 'Unix sockets are not covered')
    .optional(),
  ports: z.record(z.string(), port).optional(),
  labels: labels.optional(),
  network: text.optional(),
  locality: text.optional(),
  weight: count.optional(),
  serviceAccount: text.optional(),
})

/** As a resource: an address is needed. */
export const workloadEntryResource = workloadEntry.refine((entry) => entry.address !== undefined, {
  path: ['address'],
  message: 'is missing; an entry that is reached through its network only is not covered',
})

/** WorkloadGroup: what istioctl and auto-registration make entries of; it reaches no data plane by itself. */
export const workloadGroup = z.strictObject({
  metadata: z.strictObject({ labels: labels.optional(), annotations: labels.optional() }).optional(),
  template: workloadEntry,
  /** What a device probes is its own affair (agent.yaml, `node.readinessProbe`). */
  probe: z.looseObject({}).optional(),
})

export type WorkloadEntry = z.infer<typeof workloadEntry>
export type WorkloadGroup = z.infer<typeof workloadGroup>
