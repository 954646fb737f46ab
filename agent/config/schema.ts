/**
 * agent.yaml: every setting with its unit in the name, its default and its range. Unknown keys fail. Schemas are made
 * when they are asked for and gone after it: a start needs them once, and each is some fifty closures.
 */
import * as z from 'zod'
import { isLoopback } from '../../model/browser.ts'
import { mqttPolicySchema } from '../../model/mqtt-policy.ts'
import { readinessProbeSchema } from './readiness-probe.ts'

const port = () => z.number().int().min(0).max(65_535)
const ms = () => z.number().int().positive()
const bytes = () => z.number().int().positive()
const file = () => z.string().min(1)
const hostPort = () =>
  z
    .string()
    .regex(/^(\[[0-9a-fA-F:.]+\]|[^\s:[\]]+):\d{1,5}$/, 'must be HOST:PORT, with an IPv6 address in square brackets')

const node = () =>
  z.strictObject({
    /** Unique in its namespace; default: the host's name. */
    name: z.string().min(1).max(253).optional(),
    namespace: z.string().min(1).max(63).default('default'),
    serviceAccount: z.string().min(1).max(253).default('default'),
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
    /** Further node metadata for istiod, e.g. AUTO_REGISTER_GROUP; null leaves one out that would be sent. */
    metadata: z.record(z.string(), z.json()).default({}),
  })

/** Where certificates are mounted for sidecars and gateways, and where distributions keep authorities. */
const TLS_FILE_FOLDERS = [
  '/etc/meshlet/certs',
  '/etc/certs',
  '/etc/ssl',
  '/etc/pki',
  '/usr/share/ca-certificates',
  '/usr/local/share/ca-certificates',
]

const control = () =>
  z.strictObject({
    /** istiod or hub; several are tried in turn. */
    address: z.union(
      [hostPort().transform((a) => [a]), z.array(hostPort()).min(1)],
      'must be HOST:PORT or a list of them, with an IPv6 address in square brackets',
    ),
    /** Name in the server's certificate; default: the host of the address. */
    serverName: z.string().min(1).optional(),
    /** PEM file with the roots that the control plane's certificate is checked against. */
    roots: file(),
    /**
     * File with the join token; read anew at every use, so that it may be rotated. Not needed once a certificate is
     * there.
     */
    token: file().optional(),
    /** Life asked for; 0 = the server's default. */
    certificateTtlSec: z.number().int().nonnegative().default(0),
    /** `auto`: delta, and the state of the world from a server that does not know delta. */
    protocol: z.enum(['auto', 'delta', 'sotw']).default('auto'),
    /** Of what is sent; `gzip` only towards a server that takes it (istiod does not). */
    compression: z.enum(['none', 'gzip']).default('none'),
    /** Largest push that is taken, decompressed. */
    maxMessageBytes: z
      .number()
      .int()
      .min(65_536)
      .default(128 * 1024 * 1024),
    /** A push after a reconnect that has lost most clusters is held back this long; 0 = not at all. */
    shrinkHoldMs: z.number().int().nonnegative().default(120_000),
    /** Shortest time between two whole copies of the stored configuration; 0 = none is made. */
    snapshotCopyIntervalMs: z.number().int().nonnegative().default(3_600_000),
    /**
     * Without a control plane for longer than this, pushed inbound listeners close: a peer that was locked out
     * centrally must not come in for ever. 0 = they never do.
     */
    authorizationMaxAgeMs: z.number().int().nonnegative().default(0),
    /**
     * Ask for further roots of the mesh; only an istiod with ISTIO_MULTIROOT_MESH has them (Istio's agent:
     * PROXY_CONFIG_XDS_AGENT).
     */
    trustBundle: z.boolean().default(false),
    /** A refused resource is asked for anew after this long, then after twice as long and so on; 0 = never. */
    refusedRetryMs: z.number().int().nonnegative().default(30_000),
    refusedRetryMaxMs: ms().default(900_000),
    /**
     * Folders of this machine in which files are read that the control plane names for TLS (DestinationRule
     * `caCertificates` and the like); symbolic links may not lead out of them.
     */
    tlsFileFolders: z
      .array(z.string().regex(/^\/(?!.*(^|\/)\.\.(\/|$))/, 'must be an absolute path without ..'))
      .default([...TLS_FILE_FOLDERS]),
  })

const identity = () =>
  z.strictObject({
    /**
     * Certificates that something else renews, in Istio's names: cert-chain.pem, key.pem, root-cert.pem, and ca-crl.pem
     * if there is one.
     */
    folder: file().optional(),
    /** Kind of key that is made for a certificate of the control plane's CA. */
    key: z.enum(['ecdsa-p256', 'rsa-2048', 'rsa-3072', 'rsa-4096']).default('ecdsa-p256'),
    /** File with 32 bytes (as they are, or base64) that key and certificate are encrypted with on disk. */
    encryptionKey: file().optional(),
    /** PEM file with further roots that peers are verified by; looked at again every minute. */
    extraRoots: file().optional(),
    /** PEM file with a revocation list of every CA of the mesh; looked at again every minute. */
    crl: file().optional(),
    /** What goes on when certificates have expired and the control plane is away. */
    expired: z
      .strictObject({
        mode: z.enum(['strict', 'site-grace', 'serve-local']).default('strict'),
        graceHours: z
          .number()
          .positive()
          .max(24 * 366)
          .default(72),
        /** Whose expired certificates count, too; our own trust domain's do. */
        trustDomains: z
          .array(
            z
              .string()
              .regex(/^[a-z0-9._-]{1,255}$/, 'must be a trust domain: lower-case letters, digits, `.`, `_` and `-`'),
          )
          .max(100)
          .default([]),
        /**
         * Connections that are open when our certificate expires `end`, or are `keep`t as Envoy does; `end-with-peer`:
         * also when the one expires that the peer connected with.
         */
        openConnections: z.enum(['end', 'end-with-peer', 'keep']).default('end'),
        /** From there to when what is still under way is cut; 0 = at once. */
        endWithinMs: z.number().int().nonnegative().default(30_000),
      })
      .prefault({}),
  })

const listenerTls = () =>
  z.discriminatedUnion('mode', [
    /** The mesh identity; clients must show a certificate of the mesh. */
    z.strictObject({ mode: z.literal('mutual') }),
    /** A server certificate of its own; clients need none unless `clientRoots` is given. */
    z.strictObject({ mode: z.literal('server'), chain: file(), key: file(), clientRoots: file().optional() }),
  ])
const listenerBase = () => ({
  name: z.string().min(1).max(128),
  address: z.union([z.ipv4(), z.ipv6()]).default('127.0.0.1'),
  port: port(),
  /** `::` takes IPv4 clients, too (Envoy's ipv4_compat). */
  ipv4Compat: z.boolean().optional(),
  /** In plain text on an address that others reach, and without rules: it is meant so, and no problem. */
  acceptAnyone: z.boolean().optional(),
})
const listener = () =>
  z.discriminatedUnion('kind', [
    /**
     * Explicit outbound proxy (http_proxy=…): absolute-form requests, CONNECT, or a Host header; `routes` names a route
     * configuration.
     */
    z.strictObject({
      ...listenerBase(),
      kind: z.literal('http_proxy'),
      routes: z.string().min(1).default('http_proxy'),
    }),
    /** An HTTP port whose requests are routed by the named route configuration. */
    z.strictObject({
      ...listenerBase(),
      kind: z.literal('http'),
      routes: z.string().min(1),
      tls: listenerTls().optional(),
    }),
    z.strictObject({
      ...listenerBase(),
      kind: z.literal('tcp'),
      cluster: z.string().min(1),
      tls: listenerTls().optional(),
    }),
    z.strictObject({
      ...listenerBase(),
      kind: z.literal('mqtt'),
      transport: z.enum(['tcp', 'websocket']).default('tcp'),
      tls: listenerTls().optional(),
    }),
  ])

const domainName = () =>
  z
    .string()
    .regex(/^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?$/, 'must be a domain name')
    .transform((d) => d.toLowerCase().replace(/\.$/, ''))
/** No name: who would resolve it? */
const resolver = () =>
  z.string().transform((text, ctx) => {
    const [, bracketed, plain, portText] = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+))(?::(\d{1,5}))?$/.exec(text) ?? []
    const host = bracketed ?? plain ?? text
    const address = { host, port: Number(portText ?? 53) }
    if (z.union([z.ipv4(), z.ipv6()]).safeParse(host).success && address.port > 0 && address.port <= 65_535)
      return address
    ctx.addIssue({ code: 'custom', message: 'must be an IP address, with a port like 10.0.0.1:53 or [fd00::1]:53' })
    return z.NEVER
  })
/**
 * Serves the mesh's names, and passes others on, to clients that know services by name: TCP, and everything in
 * transparent capture.
 */
const dns = () =>
  z.strictObject({
    address: z.union([z.ipv4(), z.ipv6()]).default('127.0.0.1'),
    port: port().default(15_053),
    /** Resolvers for names that are not the mesh's; [] = there are no others. Default: those of `resolvConf`. */
    upstreams: z.array(resolver()).max(8).optional(),
    /** Read again every few seconds: it changes with the uplink. */
    resolvConf: file().default('/etc/resolv.conf'),
    /** Domains that clients' resolvers put behind names. Default: those of `resolvConf`. */
    search: z.array(domainName()).max(8).optional(),
    /**
     * Without a name table: so long every name waits for the first; then those that cannot be the mesh's alone are
     * asked for upstream.
     */
    firstTableMs: z.number().int().nonnegative().max(86_400_000).default(15_000),
    attemptMs: ms().max(30_000).default(2_000),
    /** Names that are asked for upstream at the same time. */
    maxInFlight: z.number().int().min(1).max(4_096).default(256),
    maxCacheEntries: z.number().int().nonnegative().max(1_000_000).default(4_096),
    maxCacheBytes: z
      .number()
      .int()
      .nonnegative()
      .default(2 * 1024 * 1024),
    /** RFC 8767 §4 and RFC 2308 §5 give the upper bounds. */
    maxTtlSec: z.number().int().nonnegative().max(604_800).default(86_400),
    maxNegativeTtlSec: z.number().int().nonnegative().max(10_800).default(900),
    /** So long after its time an answer is given when no resolver answers; 0 = never. */
    maxStaleSec: z.number().int().nonnegative().max(2_592_000).default(259_200),
    /** Answers are kept on disk for a start without an uplink: written at most so often, and at the end; 0 = never. */
    storeEveryMs: z.number().int().nonnegative().max(86_400_000).default(3_600_000),
    maxStoredBytes: bytes().default(128 * 1024),
    maxTcpConnections: z.number().int().positive().max(10_000).default(128),
    tcpIdleMs: ms().default(10_000),
  })

const limits = () =>
  z.strictObject({
    /**
     * Open at a time, from accept to end: per listener, of all listeners, and per source (an IPv4 address or an IPv6
     * /64). Default: from the memory that the process may have (connection-limits.ts).
     */
    maxConnections: z.number().int().positive().optional(),
    maxConnectionsTotal: z.number().int().positive().optional(),
    maxConnectionsPerSource: z.number().int().positive().optional(),
    maxHeaderBytes: bytes().default(60 * 1024),
    maxHeaderCount: z.number().int().positive().default(100),
    maxReplayBytes: bytes().default(64 * 1024),
    /** What may wait for a peer that takes it slowly, per connection and direction, before no more is read for it. */
    maxBufferBytes: bytes().default(64 * 1024),
    /**
     * Of everything that waits in memory, together. Default: from the memory that the process may have
     * (core/runtime/memory-budget.ts).
     */
    maxQueuedMemoryBytes: bytes().optional(),
    idleMs: ms().default(3_600_000),
    requestHeadMs: ms().default(60_000),
    tlsHandshakeMs: ms().default(10_000),
    drainMs: ms().default(30_000),
    maxHttp2Streams: z.number().int().positive().default(100),
  })

export const agentConfigSchema = () =>
  z
    .strictObject({
      node: node().prefault({}),
      control: control().optional(),
      /** Folder of Envoy-format resource files, instead of a control plane. */
      directory: file().optional(),
      identity: identity().prefault({}),
      state: file().default('/var/lib/meshlet'),
      /**
       * `explicit`: applications are pointed at meshlet. `transparent` and `redirect`: istiod sends the listeners 15001
       * and 15006. The first serves with sockets that systemd passes, the second cannot (capture.ts). Istio's
       * interception modes NONE, TPROXY and REDIRECT.
       */
      capture: z.enum(['explicit', 'transparent', 'redirect']).default('explicit'),
      /**
       * Whoever reaches it can read everything and stop the agent: an address that others reach needs `acceptAnyone`.
       */
      admin: z
        .strictObject({
          address: z.union([z.ipv4(), z.ipv6()]).default('127.0.0.1'),
          port: port().default(15_000),
          acceptAnyone: z.boolean().optional(),
        })
        .prefault({}),
      listeners: z.array(listener()).default([]),
      mqtt: mqttPolicySchema().prefault({}),
      /** Absent = no DNS. */
      dns: dns().optional(),
      /**
       * Asks whether the workload behind this node works; told to istiod for a node with AUTO_REGISTER_GROUP or
       * WORKLOAD_ENTRY.
       */
      readinessProbe: readinessProbeSchema().optional(),
      limits: limits().prefault({}),
      log: z
        .strictObject({ level: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace']).default('info') })
        .prefault({}),
    })
    .superRefine((c, ctx) => {
      if (!c.control && !c.directory)
        ctx.addIssue({
          code: 'custom',
          path: [],
          message: 'one of `control` or `directory` is needed: where does the configuration come from?',
        })
      if (c.control && c.directory)
        ctx.addIssue({ code: 'custom', path: ['directory'], message: '`control` and `directory` exclude each other' })
      if (!isLoopback(c.admin.address) && !c.admin.acceptAnyone) {
        ctx.addIssue({
          code: 'custom',
          path: ['admin', 'address'],
          message:
            'is no loopback address: whoever reaches it can read everything and stop the agent. If that is meant, say `acceptAnyone: true` beside it',
        })
      }
      const names = new Set<string>()
      c.listeners.forEach((l, i) => {
        if (names.has(l.name))
          ctx.addIssue({
            code: 'custom',
            path: ['listeners', i, 'name'],
            message: `the name "${l.name}" is used twice`,
          })
        names.add(l.name)
        if ('tls' in l && l.tls?.mode === 'mutual' && !c.control && c.identity.folder === undefined) {
          ctx.addIssue({
            code: 'custom',
            path: ['listeners', i, 'tls'],
            message:
              'mode `mutual` shows the mesh identity, which comes from `control` or `identity.folder`; neither is there',
          })
        }
      })
    })

export type AgentConfig = z.infer<ReturnType<typeof agentConfigSchema>>
export type ListenerConfig = AgentConfig['listeners'][number]
