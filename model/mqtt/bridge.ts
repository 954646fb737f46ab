import * as z from 'zod'

const count = () => z.number().int().positive()

/** Of one session with an upstream broker: what is not of one route. */
export const bridge = () =>
  z.strictObject({
    /** Those of the routes that it is about; `clientId` as in them. */
    cluster: z.string().min(1),
    clientId: z.string().min(1).max(65_535).optional(),
    /** Clusters that are tried in turn while the first one is not reached; it is returned to when it is there again. */
    failover: z.array(z.string().min(1)).max(8).default([]),
    /**
     * `automatic`: connected as long as it can be. `lazy`: once `lazyMessages` wait, until nothing has passed for
     * `idleSec`. `once`: until the first connection ends.
     */
    start: z.enum(['automatic', 'lazy', 'once']).default('automatic'),
    lazyMessages: count().default(10),
    idleSec: count().max(86_400).default(60),
    /** Waits between connections are at least and at most so long, and grow in between. */
    reconnectMinMs: count().max(60_000).default(1_000),
    reconnectMaxMs: count().max(3_600_000).default(300_000),
    /** Where it is told whether it is connected: retained `1` and `0`. */
    notifications: z.enum(['none', 'local', 'remote', 'both']).default('none'),
    /** Default: `$SYS/broker/connection/<client id>/state`. */
    notificationTopic: z
      .string()
      .min(1)
      .max(65_535)
      .regex(/^[^+#\0]+$/, 'is a topic name: it has no wildcards')
      .optional(),
    /** A message that came down through more bridges goes round in a circle and is dropped. */
    maxHops: count().max(255).default(8),
  })
export type MqttBridge = z.infer<ReturnType<typeof bridge>>

/** @returns places of entries that say something about the same session as an earlier one */
export function findRepeatedBridges(bridges: readonly MqttBridge[]): readonly number[] {
  const keys = bridges.map(({ cluster, clientId }) => JSON.stringify([cluster, clientId]))
  return keys.flatMap((key, i) => (keys.indexOf(key) < i ? [i] : []))
}
