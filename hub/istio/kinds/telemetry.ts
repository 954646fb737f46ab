/** Telemetry (telemetry.istio.io), with the providers that every istiod has: `prometheus` and `envoy`. */
import * as z from 'zod'
import { duration, matchLabels, name, refuse, text } from './fields.ts'

const MODES = z.enum(['CLIENT_AND_SERVER', 'CLIENT', 'SERVER'])
const METRICS = z.enum([
  'ALL_METRICS',
  'REQUEST_COUNT',
  'REQUEST_DURATION',
  'REQUEST_SIZE',
  'RESPONSE_SIZE',
  'TCP_OPENED_CONNECTIONS',
  'TCP_CLOSED_CONNECTIONS',
  'TCP_SENT_BYTES',
  'TCP_RECEIVED_BYTES',
  'GRPC_REQUEST_MESSAGES',
  'GRPC_RESPONSE_MESSAGES',
])
const providers = (
  known: string,
): z.ZodOptional<z.ZodArray<z.ZodObject<{ name: z.ZodType<string> }, z.core.$strict>>> =>
  z
    .array(
      z.strictObject({
        name: name.refine((n) => n === known, `must be ${known}: others stand in an istiod's mesh configuration`),
      }),
    )
    .optional()

const metrics = z.strictObject({
  providers: providers('prometheus'),
  overrides: z
    .array(
      z.strictObject({
        match: z
          .strictObject({ metric: METRICS.optional(), customMetric: name.optional(), mode: MODES.optional() })
          .refine((m) => !(m.metric && m.customMetric), 'cannot have both metric and customMetric')
          .optional(),
        disabled: z.boolean().optional(),
        tagOverrides: z
          .record(
            z.string(),
            z.strictObject({ operation: z.enum(['UPSERT', 'REMOVE']).optional(), value: text.optional() }),
          )
          .optional(),
      }),
    )
    .optional(),
  reportingInterval: duration.optional(),
})

const accessLogging = z.strictObject({
  match: z.strictObject({ mode: MODES.optional() }).optional(),
  providers: providers('envoy'),
  disabled: z.boolean().optional(),
  filter: z.strictObject({ expression: text }).optional(),
})

export const telemetry = z.strictObject({
  selector: matchLabels.optional(),
  targetRef: refuse('it attaches to gateways and waypoints'),
  targetRefs: refuse('it attaches to gateways and waypoints'),
  metrics: z.array(metrics).optional(),
  accessLogging: z.array(accessLogging).optional(),
  tracing: refuse("tracing providers stand in an istiod's mesh configuration"),
})

export type Telemetry = z.infer<typeof telemetry>
export type Metrics = z.infer<typeof metrics>
export type AccessLogging = z.infer<typeof accessLogging>
