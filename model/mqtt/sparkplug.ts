import * as z from 'zod'

/** First level of every topic of Sparkplug B [tck-id-topic-structure-namespace-a]. */
export const NAMESPACE = 'spBv1.0'

/** Of a route that carries Sparkplug 3.0 to an upstream broker. */
export const sparkplug = () =>
  z.strictObject({
    /**
     * Sparkplug Host ID of the Primary Host Application: what the route carries waits while that is not online at the
     * upstream broker. Default: nobody is waited for.
     */
    hostId: z
      .string()
      .min(1)
      .max(1_024)
      .regex(/^[^+#/\0]+$/, 'is one level of a topic, without `/`, `+` and `#`')
      .optional(),
    /** Whether `STATE/<host id>` with ONLINE and OFFLINE counts, too, as hosts of Sparkplug 2.2 publish it. */
    legacyState: z.boolean().default(false),
    /**
     * When Edge Nodes are asked for their birth certificates: `gap`: when messages are missing; `session`: also when
     * the Primary Host Application goes and comes, and when what had waited was sent; `none`: never.
     */
    rebirth: z.enum(['session', 'gap', 'none']).default('session'),
    /** One Edge Node is asked at most so often. */
    rebirthIntervalSec: z.number().int().positive().max(86_400).default(60),
    /** Of a payload that came compressed: a larger one goes as it is, neither marked nor its sequence number read. */
    maxInflatedBytes: z
      .number()
      .int()
      .positive()
      .max(16 * 1024 * 1024)
      .default(256 * 1024),
  })
export type RouteSparkplug = z.infer<ReturnType<typeof sparkplug>>
