/** What the console's API says of devices beyond lists: reports, questions, configuration. As schemas.ts has it for the rest. */
import * as z from 'zod'
import { COMMAND_LIMITS, COMMANDS } from '../../model/fleet/command.ts'
import { QUEUE_KINDS, QUEUE_STATES, SERVICE_STATES } from '../../model/fleet/report-details.ts'

const ms = z.number().describe('milliseconds since the epoch')
const count = z.int()

export const where = z.string().max(4_096).optional().describe('a question, as of meshlet-hub devices --where')
export const labelled = z
  .string()
  .max(2_048)
  .optional()
  .describe('labels that a device must have: site=north,line=3, as of --label')

export const fleetQuery = z.object({
  where,
  labels: labelled,
  offset: z.coerce.number().int().min(0).max(10_000_000).default(0),
  limit: z.coerce.number().int().min(1).max(500).default(100),
})
const known = { text: z.string().optional(), number: z.number().optional(), yes: z.boolean().optional() }
export const fleetRow = z.object({
  name: z.string(),
  state: z.enum(['connected', 'gone', 'unknown']),
  connected: known.yes,
  since: ms,
  seen: ms,
  joined: ms,
  address: z.string(),
  identity: z.string(),
  namespace: z.string(),
  labels: z.record(z.string(), z.string()),
  enrolled: z.enum(['active', 'suspended', 'revoked']).optional(),
  cloned: z.boolean(),
  serial: known.text,
  certificateEnds: known.number,
  revision: known.text,
  desired: known.text,
  taken: known.number,
  current: known.yes,
  refused: z.number(),
  refusal: known.text,
  reported: known.number,
  version: known.text,
  ready: known.yes,
  started: known.number,
  restarts: known.number,
  clock: known.yes,
  problems: known.number,
  problem: z.array(z.string()).readonly(),
  rttMs: known.number,
  bytes: known.number,
  requests: known.number,
  failures: known.number,
  drops: known.number,
  spool: known.number,
  spoolSince: known.number,
  queue: known.number,
  down: known.number,
})
export const fleetPage = z.object({
  total: count,
  offset: count,
  isHubThere: z.boolean().describe('a hub has said of late that it runs: else nobody knows who is connected'),
  rows: z.array(fleetRow).readonly(),
})
export const dataUse = z.object({
  devices: count.describe('that have reported'),
  purposes: z
    .array(z.object({ purpose: z.string(), sent: z.number(), received: z.number() }))
    .readonly()
    .describe('of their links to the hub since they started, the largest first'),
  largest: z.array(z.object({ name: z.string(), bytes: z.number() })).readonly(),
})

const sums = { messages: z.number(), bytes: z.number(), drops: z.number().describe('given up since it started') }
export const services = z.object({
  rows: z
    .array(
      z.object({
        name: z.string().describe('of the cluster'),
        state: z.enum(SERVICE_STATES).describe('none: it has no endpoints'),
        endpoints: z.number(),
        healthy: z.number(),
        connections: z.number(),
      }),
    )
    .readonly()
    .describe('the worst first'),
  more: z.number().describe('that have no row'),
})
export const queues = z.object({
  rows: z
    .array(
      z.object({
        kind: z.enum(QUEUE_KINDS).describe('bridge: of an upstream broker; aside: what that does not take'),
        name: z.string(),
        state: z.enum(QUEUE_STATES).describe('of its receiver; unrouted: no route names it any more'),
        ...sums,
        sinceMs: ms.nullable().describe('since when it was seen holding messages; null: it is empty'),
      }),
    )
    .readonly()
    .describe('the deepest first'),
  more: z.object({ queues: z.number(), ...sums }).describe('those that have no row'),
})

export const askBody = z.object({
  command: z.enum(COMMANDS),
  lines: z.int().min(1).max(COMMAND_LIMITS.lines).default(100).describe('of logs: the newest so many'),
})
export const answer = z.discriminatedUnion('form', [
  z.object({ form: z.literal('text'), text: z.string() }),
  z.object({ form: z.literal('file'), name: z.string(), content: z.string().describe('base64') }),
])

const resource = z.object({
  type: z.string().describe('of xDS or of Istio, without its package'),
  name: z.string(),
  state: z.enum(['same', 'changed', 'added', 'removed']).describe('desired, compared with what is in force'),
  desired: z.string().nullable().describe('hash of its content; null: it is not among those'),
  running: z.string().nullable(),
  refused: z.string().nullable().describe('why the device does not take it'),
})
export const configuration = z.object({
  desired: z.string().nullable().describe('revision; null: the hub has none for it'),
  running: z.string().nullable().describe('revision; null: it is not known'),
  content: z
    .object({ expected: z.string(), running: z.string() })
    .nullable()
    .describe(
      'one hash over all resources: of those that the hub sent, and of those in force; null: it has not reported',
    ),
  isRunningKnown: z.boolean().describe('what stands in the revision in force is still known here'),
  resources: z.array(resource).readonly().describe('those that differ first'),
  resourcesTotal: count,
})
export const resourceQuery = z.object({
  type: z.string().min(1).max(200),
  name: z.string().min(1).max(2_000),
})
export const resourceDiff = z.object({
  lines: z
    .array(z.string())
    .readonly()
    .describe('` same`, `-in force`, `+desired`, and `@@ line` where some are left out'),
  isCut: z.boolean(),
  isHidden: z.boolean().describe('it has secrets in it'),
})

export type FleetQuery = z.infer<typeof fleetQuery>
export type FleetPage = z.infer<typeof fleetPage>
export type DataUse = z.infer<typeof dataUse>
export type AskBody = z.input<typeof askBody>
export type Answer = z.infer<typeof answer>
export type Configuration = z.infer<typeof configuration>
export type ConfigurationResource = z.infer<typeof resource>
export type ResourceDiff = z.infer<typeof resourceDiff>
