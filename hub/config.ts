/**
 * Settings of hub.yaml. Names carry their unit; unknown keys and values out of range are mistakes, named with their
 * line.
 */
import path from 'node:path'
import * as z from 'zod'
import type { Disk } from '../core/os/disk.ts'
import { MeshError, toMeshError } from '../core/errors.ts'
import { DEFAULT_HALT, parseHalt } from './rollout/halt.ts'
import { parseWaves } from './rollout/waves.ts'
import { toConfigError, loadYaml } from '../core/yaml.ts'
import { consoleSchema } from './console/settings.ts'

const HOST_PORT = /^(?:\[[0-9a-fA-F:]+\]|[^:[\]\s]+):(\d{1,5})$/
const DAY_SEC = 86_400
const hostPort = () =>
  z
    .string()
    .regex(HOST_PORT, 'must be ADDRESS:PORT')
    .refine((text) => Number(HOST_PORT.exec(text)?.[1] ?? 0) <= 65_535, 'has a port above 65535')
const whole = (min: number, max: number): z.ZodNumber => z.int().min(min).max(max)

const limits = z.strictObject({
  maxStreams: whole(1, 100_000).default(2_000).describe('ADS streams at once, all devices together'),
  maxStreamsPerIdentity: whole(1, 100_000).default(500).describe('ADS streams at once of one SPIFFE id'),
  maxStreamsPerDevice: whole(1, 100_000)
    .default(32)
    .describe('ADS streams at once of one device, by its certificate or key'),
  maxConnections: whole(1, 200_000).default(20_000).describe('TCP connections at once'),
  maxConnectionsPerDevice: whole(1, 200_000)
    .default(64)
    .describe('TCP connections at once of one device, by its certificate or key'),
  maxConnectionsPerToken: whole(1, 200_000)
    .default(1_000)
    .describe('TCP connections at once of all that show one join token and no certificate'),
  maxStrangers: whole(1, 100_000)
    .default(1_024)
    .describe('TCP connections at once over which no authenticated call has come yet'),
  maxStrangersPerAddress: whole(1, 100_000).default(128).describe('the same, from one address'),
  strangerMs: whole(100, 600_000)
    .default(10_000)
    .describe('a connection has so long for handshake and first authenticated call, milliseconds'),
  maxStrangerBytes: whole(16_384, 64 * 1024 * 1024)
    .default(256 * 1024)
    .describe('a connection may send so much before its first authenticated call, bytes'),
  maxCertificatesPerHour: whole(1, 1_000_000).default(120).describe('certificates for one device'),
  maxJoinsPerHour: whole(1, 1_000_000).default(3_600).describe('first certificates with one join token'),
  maxReportsPerMinute: whole(1, 100_000).default(60).describe('reports of one device about itself, over the relay'),
  maxTunnels: whole(1, 10_000)
    .default(64)
    .describe('connections of `meshlet-hub connect` at once, all devices together'),
  maxTunnelsPerDevice: whole(1, 1_000).default(8).describe('the same, to one device, which itself takes 8 at most'),
  maxSubscribedBytes: whole(1_024, 1024 * 1024 * 1024)
    .default(32 * 1024 * 1024)
    .describe('what the names take that one device subscribes to: 128 bytes each, and their length'),
  maxHalfMessageBytes: whole(65_536, 1024 * 1024 * 1024)
    .default(16 * 1024 * 1024)
    .describe(
      'what may have come of messages that one device has not sent whole; two messages of maxRequestBytes may always be under way',
    ),
  maxRequestBytes: whole(1_024, 64 * 1024 * 1024)
    .default(4 * 1024 * 1024)
    .describe('size of one gRPC message from a device, bytes'),
})

const rollout = z.strictObject({
  default: z
    .enum(['waves', 'all'])
    .default('waves')
    .describe('how a change of the resources folder comes to the devices: in waves, or to all at once'),
  atOnceBelow: whole(0, 100_000).default(10).describe('with fewer devices, a change of the folder goes to all at once'),
  waves: z
    .string()
    .default('1%,10%,50%,100%')
    .superRefine((text, context) => refuseWhatThrows(context, () => parseWaves(text)))
    .describe('share of the devices that have the revision after each wave'),
  soakSec: whole(0, 7 * DAY_SEC)
    .default(600)
    .describe('how long each wave is watched before the next begins'),
  awaySec: whole(1, DAY_SEC)
    .default(300)
    .describe('a device that was there when its wave began and is away for longer is lost'),
  halt: z
    .string()
    .default(DEFAULT_HALT)
    .superRefine((text, context) => refuseWhatThrows(context, () => parseHalt(text)))
    .describe('when a rollout stops by itself, and devices go back to what was good last; `never`'),
})

function refuseWhatThrows(context: z.RefinementCtx, parse: () => unknown): void {
  try {
    parse()
  } catch (err) {
    context.addIssue({ code: 'custom', message: toMeshError(err).message })
  }
}

export const apiSchema = z.strictObject({
  listen: hostPort().default('0.0.0.0:15443').describe('where devices join and renew: HTTPS, TLS 1.3'),
  maxConnections: whole(1, 100_000).default(2_000).describe('TCP connections at once'),
  requestMs: whole(100, 600_000)
    .default(20_000)
    .describe('a connection has so long for its handshake and its one request, milliseconds'),
  requestsPerMinute: whole(1, 1_000_000)
    .default(600)
    .describe('requests of one address; many devices may stand behind one'),
})

export const hubConfigSchema = z
  .strictObject({
    listen: hostPort()
      .default('0.0.0.0:15012')
      .describe('where agents and Envoys connect: ADS and certificates, both over TLS'),
    relay: z
      .strictObject({
        listen: hostPort()
          .default('0.0.0.0:443')
          .describe('where agents with `control.address: wss://…` connect: everything over one WebSocket'),
      })
      .optional()
      .describe('the relay; left out: none'),
    api: apiSchema
      .optional()
      .describe(
        "the HTTPS API at a port of its own; it is at the relay's, too. Without either devices join with tokens over gRPC",
      ),
    istiod: z
      .strictObject({
        address: hostPort().describe('of istiod, as devices reach it'),
        roots: z.string().min(1).describe("PEM file with the roots that istiod's certificate is checked against"),
        serverName: z
          .string()
          .min(1)
          .max(253)
          .optional()
          .describe("name in istiod's certificate; left out: the host of the address"),
        issuer: z
          .string()
          .regex(/^https:\/\/[^\s/?#@]+$/, 'must be https://HOST or https://HOST:PORT')
          .describe("URL of this hub's API, as istiod's JWT_RULE names it"),
        audience: z.string().min(1).max(253).default('istio-ca').describe('one of the audiences of that rule'),
        tokenTtlSec: whole(60, 86_400).default(600).describe('life of a token, seconds'),
      })
      .optional()
      .describe('devices that join get configuration and certificates from this istiod, by tokens of the hub'),
    console: consoleSchema.optional().describe('the page for operators, and its API; left out: none'),
    resources: z
      .string()
      .min(1)
      .describe(
        "folder of resource files: those at its top are for every node, those in `@site=north/` for nodes with that label, those in a folder of a node's name for that node",
      ),
    state: z
      .string()
      .min(1)
      .default('/var/lib/meshlet-hub')
      .describe('folder for CA and registry; meshlet-hub backup copies it'),
    store: z
      .strictObject({
        url: z
          .string()
          .min(1)
          .describe(
            'postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full&sslrootcert=FILE, without a password; postgres:///DATABASE?host=/FOLDER&user=USER for a socket',
          ),
        passwordFile: z
          .string()
          .min(1)
          .optional()
          .describe('file with the password, read for each connection; left out: PGPASSFILE, or none'),
        maxConnections: whole(2, 1_000)
          .default(10)
          .describe('connections to the database at once, beside one that listens'),
        statementMs: whole(100, 600_000)
          .default(5_000)
          .describe('a statement has so long, and so long waits for others, milliseconds'),
      })
      .optional()
      .describe('PostgreSQL in place of the file registry.db: for several hubs on one registry'),
    trustDomain: z
      .string()
      .regex(/^[a-z0-9._-]{1,255}$/, 'must be a trust domain: lower-case letters, digits, `.`, `_` and `-`')
      .default('cluster.local')
      .describe('first part of the SPIFFE ids that the hub certifies'),
    dnsNames: z
      .array(z.string().regex(/^[A-Za-z0-9.:_*-]{1,253}$/, 'must be a name or an IP address'))
      .min(1)
      .max(100)
      .default(['localhost', '127.0.0.1'])
      .describe('names and IP addresses by which devices call the hub; they stand in its certificate'),
    tokenTtlSec: whole(60, 365 * DAY_SEC)
      .default(DAY_SEC)
      .describe('life of a join token unless `token create` says otherwise'),
    certificateTtlSec: whole(60, 90 * DAY_SEC)
      .default(DAY_SEC)
      .describe('life of a certificate when the request names none'),
    maxCertificateTtlSec: whole(60, 90 * DAY_SEC)
      .default(90 * DAY_SEC)
      .describe('longest life that a request may name; more is refused'),
    enrollment: z
      .strictObject({
        approval: z
          .enum(['always', 'token'])
          .default('token')
          .describe('who waits for `meshlet-hub device approve`: every device, or those whose token says so'),
        clones: z
          .enum(['both', 'older', 'none'])
          .default('older')
          .describe('which of two copies of one device goes on; `older`: the one that renewed first'),
        graceDays: whole(0, 3_650)
          .default(400)
          .describe(
            'a device whose certificate ended so long ago comes back by its key alone; after that it waits for approval',
          ),
        pendingDays: whole(1, 3_650)
          .default(30)
          .describe('who waits for approval is forgotten after so long, and has to ask again'),
      })
      .prefault({}),
    rollout: rollout.prefault({}),
    admin: z
      .strictObject({
        address: z.enum(['127.0.0.1', '::1']).default('127.0.0.1').describe('loopback address of the admin port'),
        port: whole(0, 65_535).default(15_014).describe('admin port: /metrics and /ready; 0 picks a free one'),
      })
      .prefault({}),
    log: z
      .strictObject({
        level: z.enum(['error', 'warn', 'info', 'debug']).default('info').describe('least level that is written'),
      })
      .prefault({}),
    limits: limits.prefault({}),
  })
  .refine((c) => c.certificateTtlSec <= c.maxCertificateTtlSec, {
    path: ['certificateTtlSec'],
    message: 'must not be above maxCertificateTtlSec',
  })
  .refine((c) => c.istiod === undefined || c.api !== undefined || c.relay !== undefined, {
    path: ['istiod'],
    message: 'needs `api` or `relay`, which istiod and the devices ask',
  })

export type HubConfig = Readonly<z.infer<typeof hubConfigSchema>> & {
  /** Where the registry is; undefined: registry.db of the state folder. Without effect beside a `store`. */
  readonly registryFile?: string | undefined
}

/**
 * The registry elsewhere than hub.yaml says: in a PostgreSQL, whose other settings stay, or in a file. Throws
 * MESH_CONFIG_INVALID.
 */
export function withStore(config: HubConfig, text: string): HubConfig {
  const wrong = (problem: string): MeshError => new MeshError('MESH_CONFIG_INVALID', `--store ${problem}`)
  if (text === '') throw wrong('names neither a file nor postgres://USER@HOST/DATABASE')
  const [, scheme] = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(text) ?? []
  if (scheme === undefined) return { ...config, store: undefined, registryFile: path.resolve(text) }
  if (!/^postgres(?:ql)?$/i.test(scheme)) throw wrong(`takes postgres://USER@HOST/DATABASE or a file, no ${scheme}://`)
  // Without the URL: it is shown to whoever reads the log.
  if (/^[^/]*:[^/]*@/.test(text.slice(scheme.length + 3)) || (URL.parse(text)?.password ?? '') !== '')
    throw wrong(
      'holds a password, which every user of this machine has seen by now: change it, and name its file by PGPASSFILE or by store.passwordFile of hub.yaml',
    )
  const store = hubConfigSchema.shape.store.unwrap().parse({ ...config.store, url: text })
  return { ...config, store }
}

/** Throws MESH_CONFIG_INVALID, naming every line that is wrong. */
export function readHubConfig(file: string, disk: Disk): HubConfig {
  let content: Buffer | undefined
  try {
    content = disk.read(file)
  } catch (cause) {
    throw new MeshError('MESH_CONFIG_INVALID', `${file} cannot be read`, { cause })
  }
  if (!content) throw new MeshError('MESH_CONFIG_INVALID', `there is no file ${file}; --config names another`)
  return parseHubConfig(content.toString('utf8'), file)
}

/** Throws as `readHubConfig`. */
export function parseHubConfig(text: string, file = 'hub.yaml'): HubConfig {
  const loaded = loadYaml(hubConfigSchema, text, 'deploy/edge/hub.yaml shows all of them')
  if (!loaded.ok) throw toConfigError(file, loaded.problems)
  return loaded.config
}
