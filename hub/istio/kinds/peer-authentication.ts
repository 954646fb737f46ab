/** PeerAuthentication (security.istio.io): whether a workload takes mutual TLS, plain text or both. */
import * as z from 'zod'
import { matchLabels } from './fields.ts'

const mtls = z.strictObject({ mode: z.enum(['UNSET', 'DISABLE', 'PERMISSIVE', 'STRICT']).optional() })
const PORT = z.string().refine((t) => /^\d{1,5}$/.test(t) && Number(t) >= 1 && Number(t) <= 65_535, 'must be a port')

export const peerAuthentication = z
  .strictObject({
    selector: matchLabels.optional(),
    mtls: mtls.optional(),
    portLevelMtls: z.record(PORT, mtls).optional(),
  })
  .refine((spec) => !spec.portLevelMtls || Object.keys(spec.selector?.matchLabels ?? {}).length > 0, {
    path: ['portLevelMtls'],
    message: 'needs a selector: istiod ignores it without one',
  })

export type PeerAuthentication = z.infer<typeof peerAuthentication>
