/** What the registry has, whole, as the commands of `meshlet-hub` print it. As schemas.ts has it for the rest. */
import * as z from 'zod'
import { DEVICE_EVENTS } from '../registry/device-events.ts'
import { fleetRow, labelled, queues, services } from './fleet-schemas.ts'
import { rolloutRow } from './rollout-schemas.ts'

const ms = z.number().describe('milliseconds since the epoch')
const count = z.int()
const labels = z.record(z.string(), z.string())
const page = {
  offset: z.coerce.number().int().min(0).max(10_000_000).default(0),
  limit: z.coerce.number().int().min(1).max(500).default(100),
}

const point = z.object({
  atMs: ms,
  connected: z.boolean(),
  connects: z.number(),
  rttMs: z.number().nullable(),
  bytes: z.number(),
  spool: z.number(),
  requests: z.number(),
  failures: z.number(),
  drops: z.number(),
  problems: z.number(),
})
const purposes = z.array(z.object({ purpose: z.string(), sent: z.number(), received: z.number() })).readonly()
const details = z.object({
  services: z.object({
    rows: z.array(services.shape.rows.unwrap().element.omit({ state: true })).readonly(),
    more: z.number(),
  }),
  queues: z.object({
    rows: z
      .array(queues.shape.rows.unwrap().element.omit({ sinceMs: true }).extend({ sinceMs: ms.optional() }))
      .readonly(),
    more: queues.shape.more,
  }),
})
const report = z.object({
  run: z.number(),
  startedAtMs: ms,
  version: z.string(),
  platform: z.string(),
  state: z.enum(['starting', 'ready', 'draining']),
  revision: z.string(),
  desired: z.string(),
  content: z.string(),
  refused: z.array(z.object({ kind: z.string(), name: z.string(), reason: z.string() })).readonly(),
  certificate: z.object({ serial: z.string(), notAfterMs: ms }).optional(),
  clockTrusted: z.boolean(),
  bridges: z.array(z.object({ cluster: z.string(), state: z.string(), error: z.string() })).readonly(),
  problems: z.array(z.object({ code: z.string(), text: z.string() })).readonly(),
  quantities: z.object({
    rttMs: z.number().optional(),
    connections: z.number(),
    requests: z.number(),
    failures: z.number(),
    drops: z.number(),
    spoolMessages: z.number(),
    spoolBytes: z.number(),
    spoolMaxBytes: z.number(),
    spoolSinceMs: ms.optional(),
    bridged: z.number(),
    mqttClients: z.number(),
    bytes: purposes,
  }),
  details: details.optional().describe('left out: it names none'),
})
const worst = z.object({
  queue: z.number().describe('messages in its deepest queue'),
  down: z.number().describe('services that cannot be reached'),
})
const deviceEvent = z.object({
  id: count,
  atMs: ms,
  device: z.string(),
  event: z.enum(DEVICE_EVENTS),
  reason: z.string(),
})
export const deviceRecord = z.object({
  row: fleetRow,
  stored: z
    .object({ name: z.string(), atMs: ms, restarts: count, expected: z.string(), report, worst: worst.optional() })
    .optional()
    .describe('its last report; left out: it has not reported'),
  problems: z.array(z.object({ code: z.string(), text: z.string(), remedy: z.string() })).readonly(),
  minutes: z.array(point).readonly().describe('of a day, oldest first'),
  hours: z.array(point).readonly().describe('of 90 days'),
  events: z.array(deviceEvent).readonly().describe('the last 100, oldest first'),
})

const applicant = {
  name: z.string(),
  keyId: z.string(),
  namespace: z.string(),
  serviceAccount: z.string(),
  jti: z.string().nullable().describe('id of the token that it came with'),
  labels,
  address: z.string(),
}
const waiting = z.object({ ...applicant, why: z.string(), askedMs: ms, state: z.literal('pending') })
const enrolled = z.object({
  ...applicant,
  state: z.enum(['active', 'suspended', 'revoked']),
  counter: z.number(),
  resync: z.boolean(),
  joinedMs: ms,
  renewedMs: ms,
  notAfterMs: ms.describe('end of its newest certificate'),
  clonedMs: ms.nullable(),
  cloneAddresses: z.string().nullable(),
  revokedMs: ms.nullable(),
})
export const enrollmentQuery = z.object(page)
export const enrollmentPage = z.object({
  total: count,
  devices: z
    .array(z.discriminatedUnion('state', [waiting, enrolled]))
    .readonly()
    .describe('who waits, by name, and then who has joined with a key'),
})

/** Of one answer, which is bounded where it is read, too. */
export const MAX_EVENTS = 10_000
export const eventQuery = z.object({
  after: z.coerce.number().int().min(0).optional().describe('events since this id, oldest first'),
  last: z.coerce.number().int().min(1).max(MAX_EVENTS).default(10).describe('without `after`: the newest so many'),
  labels: labelled,
})
export const eventPage = z.object({
  newest: count.describe('what to ask with `after` next'),
  isFull: z.boolean().describe('there are more'),
  events: z.array(deviceEvent).readonly(),
})

const scope = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('all') }),
  z.object({ kind: z.literal('labels'), labels }),
  z.object({ kind: z.literal('device'), name: z.string() }),
])
const assignment = z.object({ scope, revision: z.string() })
const rolloutRecord = rolloutRow.omit({ scope: true, waveCount: true, before: true }).extend({
  scope,
  wave: count.describe('the one that began last, from 0'),
  salt: z.string(),
  upTo: z.array(z.number()).readonly().describe('by wave: which places are in it'),
  before: z.array(assignment).readonly(),
  sequence: count,
})
export const rolloutRecords = z.object({ rollouts: z.array(rolloutRecord).readonly().describe('newest first') })
export const rolloutStatus = z.object({
  rollout: rolloutRecord.nullable().describe('that is under way, or was the last'),
  devices: z
    .object({ begun: count, have: count, refuse: count, away: count })
    .nullable()
    .describe('of the waves that have begun, while it is under way'),
  inForce: z.array(assignment).readonly(),
  folder: z.object({
    revision: z.string().optional(),
    problems: z.array(z.string()).readonly(),
    held: z.string(),
    seenMs: ms,
  }),
  folders: z
    .array(z.object({ host: z.string(), revision: z.string(), behind: z.string(), seenMs: ms }))
    .readonly()
    .describe('of several hubs'),
})

export const fileQuery = z.object(page)
export const filePage = z.object({
  total: count,
  files: z
    .array(z.object({ path: z.string(), source: z.string(), content: z.string(), resources: count }))
    .readonly()
    .describe('by path, with the SHA-256 of the file and of what was read of it'),
})
export const deviceRevisionQuery = z.object({
  revision: z.string().min(4).max(64).optional().describe('whoever has it or is to have it'),
  ...page,
})
export const deviceRevisionPage = z.object({
  total: count,
  devices: z
    .array(
      z.object({
        name: z.string(),
        labels,
        connected: z.boolean(),
        desired: z.string().nullable(),
        inForce: z.string().nullable(),
        refused: z.string().nullable(),
      }),
    )
    .readonly()
    .describe('by name'),
})

export type DeviceRecord = z.infer<typeof deviceRecord>
export type EnrollmentPage = z.infer<typeof enrollmentPage>
export type EnrollmentItem = EnrollmentPage['devices'][number]
export type EventQuery = Readonly<z.output<typeof eventQuery>>
export type EventPage = z.infer<typeof eventPage>
export type RolloutRecords = z.infer<typeof rolloutRecords>
export type RolloutStatus = z.infer<typeof rolloutStatus>
export type FilePage = z.infer<typeof filePage>
export type DeviceRevisionPage = z.infer<typeof deviceRevisionPage>
