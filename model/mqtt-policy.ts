import * as z from 'zod'
import { bridge, findRepeatedBridges } from './mqtt/bridge.ts'
import { quota } from './mqtt/quota.ts'
import { routes, topicFilter } from './mqtt/route.ts'
import { CERTIFICATE_USERS, USER_METHODS } from './mqtt/users.ts'
import type { Policy } from './policy.ts'

/**
 * What an MQTT listener does. One schema for agent.yaml's `mqtt:` section and for the TypedStruct of an EnvoyFilter
 * (network filter `meshlet.mqtt_proxy`). Unknown keys fail.
 */

const bytes = () => z.number().int().positive()
/**
 * SQLite's log of four megabytes, the same once more in the file, and what is on its way: with less a disk that the
 * spool itself has filled takes not even a deletion.
 */
const MIN_DISK_FREE_BYTES = 16 * 1024 * 1024

const rule = () =>
  z.strictObject({
    /** `receive`: what is delivered, besides what the rules for `subscribe` say. */
    action: z.enum(['publish', 'subscribe', 'receive', 'connect']),
    /**
     * Topic filters; `%c` is the client id, `%u` the proved user, `%s`, `%n` and `%d` service account, namespace and
     * trust domain of the peer's SPIFFE id. Not for `connect`.
     */
    topics: z.array(topicFilter()).default([]),
    /** SPIFFE ids (exact or with a trailing `*`); empty = any peer, also one without a certificate. */
    principals: z.array(z.string()).default([]),
    /** As the principals: exact or with a trailing `*`. */
    clientIds: z.array(z.string()).default([]),
    /** Users that were proved; empty = any client, also one without a user. */
    users: z.array(z.string()).default([]),
    /** Of the user's token; one of the user's has to be among them. */
    groups: z.array(z.string()).default([]),
    effect: z.enum(['allow', 'deny']),
  })

/** As browsers write it. */
export const ORIGIN = /^(\*|null|[a-z][a-z0-9+.-]*:\/\/[^\s/?#@\\,A-Z]+)$/
const origin = () =>
  z
    .string()
    .regex(
      ORIGIN,
      'must be an origin as browsers write it: `https://panel.example`, with a port if it is not the usual one, without a path, or `null`, or `*`',
    )

const spool = () =>
  z.strictObject({
    profile: z.enum(['strict', 'balanced', 'eco']).default('strict'),
    maxBytes: bytes().default(256 * 1024 * 1024),
    maxMessages: bytes().default(1_000_000),
    /** The disk keeps at least this much free: below it new QoS 1 and 2 and retained messages are refused. */
    minDiskFreeBytes: z
      .number()
      .int()
      .min(MIN_DISK_FREE_BYTES)
      .default(32 * 1024 * 1024),
    /** Of damaged files that were set aside beside the spool: more, or more bytes, and the oldest are removed. */
    maxDamagedFiles: bytes().default(3),
    maxDamagedBytes: bytes().default(256 * 1024 * 1024),
    /** `refuse`: MQTT 5 clients get 0x97, older ones are not read from until there is room. */
    whenFull: z.enum(['refuse', 'drop-oldest']).default('refuse'),
  })

const PROTOCOL_VERSIONS = ['3.1', '3.1.1', '5.0'] as const
/** Also for messages from inside, where no listener says otherwise. */
export const RETAINED_LIMITS = { maxRetainedMessages: 10_000, maxRetainedBytes: 64 * 1024 * 1024 }

const limits = () =>
  z.strictObject({
    maxPacketBytes: bytes()
      .max(268_435_460)
      .default(1024 * 1024),
    /** Of a CONNECT, its will and password included: until then nobody knows who it is. */
    maxConnectBytes: bytes()
      .max(268_435_460)
      .default(64 * 1024),
    /** Connections that have not sent their CONNECT. */
    maxPendingConnects: bytes().default(512),
    maxConnections: bytes().default(10_000),
    maxSessions: bytes().default(10_000),
    /**
     * Of one certificate, and of one address without any. Default: half of maxSessions, once three quarters of those
     * are taken.
     */
    maxSessionsPerPrincipal: bytes().optional(),
    maxSessionsPerAddress: bytes().optional(),
    /** Home Assistant has one for each topic of an entity. */
    maxSubscriptionsPerSession: bytes().default(10_000),
    maxTopicLevels: bytes().default(64),
    /**
     * Messages sent to a client and not acknowledged: the window towards clients of 3.1.1, and the bound for what a
     * client of 5.0 allows.
     */
    maxInflight: bytes().max(65_535).default(100),
    /** Of their payloads; the message that reaches it still goes. mosquitto's max_inflight_bytes. Default: no bound. */
    maxInflightBytes: bytes().optional(),
    /**
     * Receive Maximum that we announce. Widely used clients ignore a smaller one and would be disconnected; a client
     * that sends too fast is simply read from later.
     */
    receiveMaximum: bytes().max(65_535).default(65_535),
    maxQueuedMessages: bytes().default(100_000),
    maxQueuedBytes: bytes().default(64 * 1024 * 1024),
    /** Of each kept session, besides that of the spool: below it the session's queue does not grow. */
    minDiskFreeBytes: bytes().optional(),
    /**
     * What a kept session does that holds so much, or the most of a full spool. `drop-oldest`: it loses its oldest
     * messages, counted and told, and nobody else loses anything. `refuse`: senders are refused.
     */
    whenQueueFull: z.enum(['drop-oldest', 'refuse']).default('drop-oldest'),
    maxRetainedMessages: bytes().default(RETAINED_LIMITS.maxRetainedMessages),
    maxRetainedBytes: bytes().default(RETAINED_LIMITS.maxRetainedBytes),
    maxSessionExpirySec: z
      .number()
      .int()
      .nonnegative()
      .default(7 * 24 * 3600),
    maxKeepAliveSec: z.number().int().positive().max(65_535).default(65_535),
    connectTimeoutMs: bytes().default(10_000),
    maxTopicAliases: z.number().int().nonnegative().max(65_535).default(32),
  })

/** Who may come in by a listener. A listener of agent.yaml has its own, which stand in place of these one by one. */
export const createMqttListenerSchema = () =>
  z.strictObject({
    /** Whether clients may come that prove no user. Default: only where the node has no `mqtt.users`. */
    anonymous: z.boolean().optional(),
    /** The ways in which a user may be proved here. Default: all that `mqtt.users` has. */
    authentication: z.array(z.enum(USER_METHODS)).optional(),
    /** In place of that of `mqtt.users`. */
    certificateUser: z.enum(CERTIFICATE_USERS).optional(),
    /** Client ids begin with one of them. Default: as they like. */
    clientIdPrefixes: z.array(z.string().min(1).max(128)).max(64).optional(),
    /** Whether a client without a client id gets one (MQTT 5.0 §3.1.3.1). Default: it does. */
    allowZeroLengthClientIds: z.boolean().optional(),
    /**
     * Whether clients may give their subscriptions identifiers (MQTT 5.0 §3.2.2.3.12). Default: they may, and a message
     * that several subscriptions match comes once, with all of theirs.
     */
    subscriptionIdentifiers: z.boolean().optional(),
    /** Through this listener, besides `limits.maxConnections` of all. */
    maxConnections: bytes().optional(),
    /** Stands before all topics of its clients, which do not see it: mosquitto's mount_point. */
    topicPrefix: z
      .string()
      .max(256)
      .regex(/^[^$+#\0/][^+#\0]*\/$/, 'must end with `/`, without wildcards, and begin with neither `$` nor `/`')
      .optional(),
    /** Of its clients' messages, wills and subscriptions (MQTT 5.0 §3.2.2.3.4). */
    maxQos: z.union([z.literal(0), z.literal(1), z.literal(2)]).optional(),
    /** Whether its clients may have messages retained (MQTT 5.0 §3.2.2.3.5). */
    retainAvailable: z.boolean().optional(),
    /** Others are answered that their version is not supported. */
    protocolVersions: z.array(z.enum(PROTOCOL_VERSIONS)).min(1).optional(),
  })

/** @returns what of it a listener of mode `transparent` cannot have, where the broker behind it has the session */
export function findEngineSetting(listener: MqttListener): string | undefined {
  return (['topicPrefix', 'maxQos', 'retainAvailable', 'protocolVersions'] as const).find(
    (name) => listener[name] !== undefined,
  )
}

export const createMqttPolicySchema = () =>
  z.strictObject({
    listener: createMqttListenerSchema().prefault({}),
    routes: routes().default([]),
    bridges: z
      .array(bridge())
      .default([])
      .superRefine((all, ctx) => {
        for (const i of findRepeatedBridges(all))
          ctx.addIssue({ code: 'custom', path: [i], message: 'is about the session of an earlier entry: write one' })
      }),
    /** First match wins; no match = allowed when there are no rules for that action, else denied. */
    rules: z.array(rule()).default([]),
    /**
     * A subscription with topics that may not be received. `refuse`: 0x87. `filter`: it is granted when it has some
     * that may, and each message is asked about.
     */
    wideSubscriptions: z.enum(['refuse', 'filter']).default('refuse'),
    /**
     * QoS 1 and 2 of MQTT 3.1.1, which has no acknowledgement that says no [MQTT-3.3.5-2]. `acknowledge` as mosquitto
     * does: the client believes that its message was taken.
     */
    deniedPublishes: z.enum(['disconnect', 'acknowledge']).default('disconnect'),
    /**
     * mosquitto's queue_qos0_messages: QoS 0 waits for kept sessions whose clients are away, too, where their queues have
     * room.
     */
    queueQos0Messages: z.boolean().default(false),
    /**
     * mosquitto's upgrade_outgoing_qos: subscribers get the QoS that they were granted, whatever a message came with.
     * MQTT wants the smaller one of both [MQTT-3.8.4-8].
     */
    upgradeOutgoingQos: z.boolean().default(false),
    /** The first that is about a client counts. */
    quotas: z.array(quota()).default([]),
    /** mosquitto's acl_file; what it denies no rule allows. */
    aclFile: z.string().startsWith('/').optional(),
    /**
     * Web pages of other hosts that may use MQTT over WebSocket: `https://panel.example`, `null` (pages without an
     * origin), `*` (all).
     */
    allowedOrigins: z.array(origin()).default([]),
    /** Of `$SYS/broker/…`, mosquitto's sys_interval; 0: there are none. Of agent.yaml alone. */
    sysIntervalSec: z.number().int().nonnegative().max(65_535).default(10),
    /**
     * The agent's log on `$SYS/broker/log/E`, `W`, `N` and `I` (errors, warnings, who comes and goes, all else), mosquitto's
     * `log_dest topic`. Of agent.yaml alone.
     */
    logTopics: z.boolean().default(false),
    spool: spool().prefault({}),
    limits: limits().prefault({}),
  })

/** What the filter `meshlet.mqtt_proxy` has beside the policy, as listeners of agent.yaml have it. */
export const createMqttFilterWaySchema = () =>
  z
    .object({
      transport: z.enum(['tcp', 'websocket', 'auto']).default('tcp'),
      mode: z.enum(['engine', 'transparent']).default('engine'),
      cluster: z.string().min(1).optional(),
      sendProxyProtocol: z.literal([1, 2]).optional(),
      forwardCredentials: z
        .boolean()
        .refine((said) => !said, 'would give passwords of the machine to a broker, which only its agent.yaml may do')
        .optional(),
    })
    .refine(({ mode, cluster }) => (mode === 'transparent') === (cluster !== undefined), {
      path: ['cluster'],
      message: 'goes with mode `transparent`, which needs it',
    })
    .refine(({ mode, sendProxyProtocol }) => mode === 'transparent' || sendProxyProtocol === undefined, {
      path: ['sendProxyProtocol'],
      message: 'goes with mode `transparent`',
    })

export type MqttPolicy = z.infer<ReturnType<typeof createMqttPolicySchema>> & {
  /** Those of the mesh that are about topics (AuthorizationPolicy); with a listener that the control plane sends. */
  readonly meshPolicies?: readonly Policy[]
}
export type MqttListener = MqttPolicy['listener']
export type MqttRule = MqttPolicy['rules'][number]
