/**
 * WorkloadGroup.spec.probe and ProxyConfig.readiness_probe (istio networking/v1alpha3/workload_group.proto) in Istio's
 * own form, so that it can be copied.
 */
import * as z from 'zod'

const port = () => z.number().int().min(1).max(65_535)
const count = () => z.number().int().min(0).max(1_000)
/** In Istio 0 is "not set". */
const orDefault = (fallback: number, max: number): z.ZodType<number, number | undefined> =>
  z
    .number()
    .int()
    .min(0)
    .max(max)
    .default(0)
    .transform((n) => (n === 0 ? fallback : n))
/** A field of an HTTP request, RFC 9110 §5.1 and §5.5. */
const header = () =>
  z.strictObject({
    name: z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/, 'is no field name'),
    value: z
      .string()
      .max(4_096)
      .regex(/^[\t\x20-\x7e\x80-\xff]*$/, 'is no field value'),
  })
const host = () => z.string().regex(/^[A-Za-z0-9_.:-]{1,253}$/, 'must be a host name or an IP address')

export const createReadinessProbeSchema = () =>
  z
    .strictObject({
      initialDelaySeconds: z.number().int().min(0).max(86_400).default(0),
      timeoutSeconds: orDefault(1, 3_600),
      periodSeconds: orDefault(10, 86_400),
      /** One after the other, to be taken for healthy. */
      successThreshold: count()
        .default(0)
        .transform((n) => n || 1),
      failureThreshold: count()
        .default(0)
        .transform((n) => n || 1),
      httpGet: z
        .strictObject({
          path: z
            .string()
            .max(4_096)
            .regex(/^[\x21-\x7e]*$/, 'must be a path without spaces')
            .default('/')
            .transform((path) => (path.startsWith('/') ? path : `/${path}`)),
          port: port(),
          host: host().optional(),
          scheme: z
            .string()
            .regex(/^(https?)?$/i, 'must be HTTP or HTTPS')
            .default('HTTP')
            .transform((scheme) => (scheme.toLowerCase() === 'https' ? ('HTTPS' as const) : ('HTTP' as const))),
          httpHeaders: z.array(header()).max(64).default([]),
        })
        .optional(),
      tcpSocket: z.strictObject({ host: host().optional(), port: port() }).optional(),
      /** Run as it is, without a shell; exit code 0 is healthy. */
      exec: z.strictObject({ command: z.array(z.string().max(4_096)).min(1).max(64) }).optional(),
      /** grpc.health.v1.Health/Check, without TLS. */
      grpc: z.strictObject({ port: port(), service: z.string().max(1_024).default('') }).optional(),
    })
    .superRefine((p, ctx) => {
      const methods = [p.httpGet, p.tcpSocket, p.exec, p.grpc].filter((m) => m !== undefined).length
      if (methods !== 1)
        ctx.addIssue({
          code: 'custom',
          path: [],
          message: `has ${methods === 0 ? 'none' : 'more than one'} of httpGet, tcpSocket, exec and grpc; exactly one is needed`,
        })
    })
