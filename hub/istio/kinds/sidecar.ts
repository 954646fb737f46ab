/** Sidecar (networking.istio.io): what a node imports, and the ports at which it is reached. */
import * as z from 'zod'
import { destination, name, port, protocol, refuse, text, workloadLabels } from './fields.ts'
import { connectionPool } from './destination-rule.ts'

const CAPTURE = z.enum(['DEFAULT', 'IPTABLES', 'NONE'])
const sidecarPort = z.strictObject({ number: port, name: name.optional(), protocol: protocol.optional() })

const HOST = /^(\*|\.|~|[a-z0-9]([-a-z0-9]*[a-z0-9])?)\/(\*|[^/\s]+)$/
const ENDPOINT = /^(127\.0\.0\.1|0\.0\.0\.0|\[::1\]|\[::\]):(\d{1,5})$/

const egress = z.strictObject({
  port: sidecarPort.optional(),
  bind: text.refine((bind) => !bind.startsWith('unix://'), 'Unix sockets are not covered').optional(),
  captureMode: CAPTURE.optional(),
  hosts: z.array(text.regex(HOST, 'must be NAMESPACE/HOST, as ./*, */*, shop/*.example.com')).min(1),
})

const ingress = z.strictObject({
  port: sidecarPort,
  bind: text.optional(),
  captureMode: CAPTURE.optional(),
  defaultEndpoint: text
    .regex(ENDPOINT, 'must be 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT or [::]:PORT; Unix sockets are not covered')
    .optional(),
  tls: refuse('istiod does not act upon it unless ENABLE_TLS_ON_SIDECAR_INGRESS is set'),
  connectionPool: connectionPool.optional(),
})

export const sidecar = z
  .strictObject({
    workloadSelector: workloadLabels.optional(),
    ingress: z.array(ingress).optional(),
    egress: z.array(egress).optional(),
    inboundConnectionPool: connectionPool.optional(),
    outboundTrafficPolicy: z
      .strictObject({
        mode: z.enum(['REGISTRY_ONLY', 'ALLOW_ANY']).optional(),
        egressProxy: destination.optional(),
      })
      .refine((p) => !p.egressProxy || p.mode === 'ALLOW_ANY', { path: ['egressProxy'], error: 'needs mode ALLOW_ANY' })
      .refine((p) => !p.egressProxy || p.egressProxy.port, { path: ['egressProxy', 'port'], error: 'is missing' })
      .optional(),
  })
  .refine(
    (s) => (s.egress?.length ?? 0) + (s.ingress?.length ?? 0) > 0 || s.inboundConnectionPool || s.outboundTrafficPolicy,
    'must have egress, ingress, inboundConnectionPool or outboundTrafficPolicy',
  )
  .superRefine(({ egress: all = [], ingress: inbound = [] }, found) => {
    for (const [i, one] of all.entries())
      if (!one.port && i < all.length - 1)
        found.addIssue({ code: 'custom', path: ['egress', i], message: 'an entry without a port must be the last one' })
    for (const [i, one] of inbound.entries())
      if (inbound.findIndex((o) => o.port.number === one.port.number) < i)
        found.addIssue({ code: 'custom', path: ['ingress', i, 'port'], message: `${one.port.number} stands twice` })
    for (const [i, one] of all.entries())
      if (one.port && all.findIndex((o) => o.port?.number === one.port?.number) < i)
        found.addIssue({ code: 'custom', path: ['egress', i, 'port'], message: `${one.port.number} stands twice` })
  })

export type Sidecar = z.infer<typeof sidecar>
export type Egress = z.infer<typeof egress>
export type Ingress = z.infer<typeof ingress>
