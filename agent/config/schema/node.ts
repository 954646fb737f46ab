/** Who this node is to the mesh. */
import * as z from 'zod'

export const node = () =>
  z.strictObject({
    /** Unique in its namespace; default: the host's name. */
    name: z.string().min(1).max(253).optional(),
    namespace: z.string().min(1).max(63).default('default'),
    serviceAccount: z.string().min(1).max(253).default('default'),
    /**
     * `sidecar`: what this machine's workloads need of the mesh. `router`: a gateway, whose ports and routes istiod makes of
     * Gateways whose selector fits `labels`.
     */
    type: z.enum(['sidecar', 'router']).default('sidecar'),
    /** Address under which the mesh knows this node (INSTANCE_IPS); default: the first address that is not loopback. */
    ip: z.union([z.ipv4(), z.ipv6()]).optional(),
    /** istiod's CLUSTER_ID. */
    clusterId: z.string().min(1).default('Kubernetes'),
    /** Give each site its own: two nodes with the same private address and network collide in the mesh. */
    network: z.string().default(''),
    meshId: z.string().default('cluster.local'),
    labels: z.record(z.string(), z.string()).default({}),
    locality: z
      .strictObject({ region: z.string().default(''), zone: z.string().default(''), subZone: z.string().default('') })
      .prefault({}),
    /** Further node metadata for istiod, e.g. AUTO_REGISTER_GROUP; null removes one that would be sent. */
    metadata: z.record(z.string(), z.json()).default({}),
  })
