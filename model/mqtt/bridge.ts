import * as z from 'zod'

const count = () => z.number().int().positive()

/** What the upstream broker is told of us, besides the certificate of the cluster. Read at each connection. */
const credentials = () =>
  z
    .strictObject({
      /** Default: the name of this node. */
      username: z.string().min(1).max(65_535).optional(),
      /** Holds a password or a token; systemd's credentials are such files. */
      passwordFile: z.string().startsWith('/').optional(),
      /** `node`: the token that this node shows its control plane (`control.token`). */
      jwt: z.literal('node').optional(),
    })
    .refine((c) => c.passwordFile === undefined || c.jwt === undefined, {
      message: 'has `passwordFile` and `jwt`: one of them is the password',
    })

/** mosquitto's own least; with less hardly a topic has room. */
const MIN_PACKET_BYTES = 20

const topicName = () =>
  z
    .string()
    .min(1)
    .max(65_535)
    .regex(/^[^+#\0]+$/, 'is a topic name: it has no wildcards')

const websocket = () =>
  z.strictObject({
    path: z
      .string()
      .startsWith('/')
      .max(2_048)
      .regex(/^[!-~]+$/, 'is a path without spaces')
      .default('/mqtt'),
    /** Default: name and port of the endpoint. */
    host: z
      .string()
      .regex(/^[a-zA-Z0-9.:[\]_-]+$/, 'is a host, with a port if it is not the usual one')
      .optional(),
  })

const psk = () =>
  z.strictObject({
    identity: z.string().min(1).max(128),
    /** Holds the key in hexadecimal. */
    keyFile: z.string().startsWith('/'),
  })

const httpProxy = () =>
  z.strictObject({
    host: z.string().min(1),
    port: count().max(65_535),
    /** Holds `user:password`. In agent.yaml only, as `credentials`. */
    credentialsFile: z.string().startsWith('/').optional(),
    /** Names, addresses and ranges that are connected to directly. */
    noProxy: z.array(z.string().min(1)).max(256).default([]),
  })

/** One that nothing goes through. */
const NO_HTTP_PROXY = { host: 'none', port: 1, noProxy: ['*'] }

/** Settings of one session with an upstream broker that do not belong to one route. */
export const bridge = () =>
  z.strictObject({
    /** Those of the routes that it is about; `clientId` as in them. */
    cluster: z.string().min(1),
    clientId: z.string().min(1).max(65_535).optional(),
    /** Clusters that are tried in turn while the first one is not reached; it is returned to when it is there again. */
    failover: z.array(z.string().min(1)).max(8).default([]),
    /** Whether they are all equal: whichever is connected stays so until it fails. mosquitto's round_robin. */
    roundRobin: z.boolean().default(false),
    /**
     * Whether the broker forgets subscriptions, and what waits for them, when the connection ends (MQTT 5.0 §3.1.2.4).
     * What goes up is kept here all the same.
     */
    cleanStart: z.boolean().default(false),
    /** Of what is sent, within the broker's Maximum Packet Size; what is larger is set aside. Default: no bound. */
    maxPacketBytes: count().min(MIN_PACKET_BYTES).max(268_435_460).optional(),
    /**
     * `automatic`: connected as long as it can be. `lazy`: once `lazyMessages` wait, until nothing has passed for
     * `idleSec`. `once`: until the first connection ends.
     */
    start: z.enum(['automatic', 'lazy', 'once']).default('automatic'),
    lazyMessages: count().default(10),
    idleSec: count().max(86_400).default(60),
    /** What is spoken: MQTT 5 and, where that is refused, 3.1.1; or 3.1.1 at once. */
    protocol: z.enum(['auto', '3.1.1']).default('auto'),
    /** In agent.yaml only: they are of this machine, and not for whatever broker a control plane names. */
    credentials: credentials().optional(),
    /** MQTT over WebSocket; TLS, where there is some, is the cluster's. */
    websocket: websocket().optional(),
    /** TLS with a key that the broker has, too, in place of certificates: of a cluster without TLS. In agent.yaml only. */
    psk: psk().optional(),
    /** Out through a proxy that knows HTTP CONNECT; what it carries is encrypted as the cluster says. */
    /** Default: that of the environment (HTTPS_PROXY, NO_PROXY); `none`: directly. */
    httpProxy: z.preprocess((said) => (said === 'none' ? NO_HTTP_PROXY : said), httpProxy().optional()),
    /** The broker's end begins connections with a PROXY header of this version, which names this agent's address. */
    sendProxyProtocol: z.literal([1, 2]).optional(),
    /** Waits between connections are at least and at most so long, and grow in between. */
    reconnectMinMs: count().max(3_600_000).default(1_000),
    reconnectMaxMs: count().max(3_600_000).default(300_000),
    /** Silence towards the broker; up to the second, when it is more, what the way there bears is learnt. */
    keepAliveSec: count().min(5).max(65_535).default(30),
    keepAliveMaxSec: count().max(65_535).optional(),
    /** Messages in flight at most, within the broker's Receive Maximum; towards 3.1.1, which has none, at most 1,000. */
    maxInflight: count().max(60_000).default(60_000),
    /** Bounds for what has waited when a connection begins. */
    replay: z.strictObject({ messagesPerSec: count().optional(), bytesPerSec: count().optional() }).default({}),
    /** Small packets are gathered for so long and go in one segment; 0: what one turn brings. */
    batchMs: z.number().int().min(0).max(1_000).default(0),
    /** Clusters to go to when the broker names one of these Server References (MQTT 5.0 §4.11). Others are not followed. */
    serverReferences: z.record(z.string().min(1), z.string().min(1)).default({}),
    /** Where it is told whether it is connected: retained `1` and `0`. */
    notifications: z.enum(['none', 'local', 'remote', 'both']).default('none'),
    /** Default: `$SYS/broker/connection/<client id>/state`. */
    notificationTopic: topicName().optional(),
    /** Where the upstream broker is told of what `drop-oldest` gave up. Default: `meshlet/gap/<client id>`. */
    gapTopic: topicName().optional(),
    /** A message that came down through more bridges goes round in a circle and is dropped. */
    maxHops: count().max(255).default(8),
  })
export type MqttBridge = z.infer<ReturnType<typeof bridge>>

/** @returns places of entries that say something about the same session as an earlier one */
export function findRepeatedBridges(bridges: readonly MqttBridge[]): readonly number[] {
  const keys = bridges.map(({ cluster, clientId }) => JSON.stringify([cluster, clientId]))
  return keys.flatMap((key, i) => (keys.indexOf(key) < i ? [i] : []))
}
