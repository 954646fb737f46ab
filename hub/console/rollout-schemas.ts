/** Rollouts and revisions over the console's API: as schemas.ts has it for the rest. */
import * as z from 'zod'

const ms = z.number().describe('milliseconds since the epoch')
const count = z.int()
const revisionId = z.string().min(4).max(64)

export const rolloutState = z.enum(['running', 'paused', 'completed', 'halted', 'aborted', 'superseded', 'undone'])
export const rolloutRow = z.object({
  id: z.string(),
  to: z.string().describe('id of a revision'),
  scope: z.string().describe('all, labels, or one device'),
  state: rolloutState,
  waves: z.string(),
  halt: z.string(),
  soakMs: z.number(),
  awayMs: z.number().describe('who was there and is away for longer is lost'),
  wave: count.describe('the one that began last, from 1'),
  waveCount: count,
  soakedMs: z.number().describe('of that wave; written down every ten seconds'),
  reason: z.string().describe('why it is in this state'),
  startedMs: ms,
  endedMs: ms.nullable(),
  by: z.string(),
  before: z
    .array(z.object({ scope: z.string(), revision: z.string() }))
    .readonly()
    .describe('what was in force when it began'),
})
export const rolloutList = z.object({
  rollouts: z.array(rolloutRow).readonly().describe('the last 100, newest first'),
  inForce: z.array(z.object({ scope: z.string(), revision: z.string() })).readonly(),
  folder: z.object({
    revision: z.string().nullable().describe('taken from it last'),
    problems: z.array(z.string()).readonly().describe('why what stands there now is none: the first of them'),
    held: z.string().describe('why its revision is not rolled out by itself; empty where it is'),
  }),
  defaults: z
    .object({ waves: z.string(), halt: z.string(), soakSec: z.number(), awaySec: z.number() })
    .describe('`rollout` of hub.yaml'),
  undo: z.string().nullable().describe('the rollout that can be undone now'),
  may: z.object({ start: z.boolean(), decide: z.boolean() }).describe('what the session may'),
})
const traffic = z.object({ requests: z.number(), failures: z.number() })
export const rolloutDetail = z.object({
  rollout: rolloutRow,
  progress: z
    .object({
      waves: z
        .array(z.object({ percent: z.number(), devices: count, have: count, refuse: count, away: count }))
        .readonly(),
      gates: z
        .array(
          z.object({
            gate: z.string().describe('as it was written'),
            what: z.enum(['rejected', 'lost', 'errors']),
            unit: z.enum(['devices', 'percent', 'times']),
            value: z.number().describe('lost: who is away now, though it counts after awayMs alone'),
            limit: z.number(),
          }),
        )
        .readonly(),
      counted: count.describe('devices that the gates count'),
      traffic: traffic.describe('HTTP requests of those since their wave began'),
      before: traffic.describe('and until then'),
    })
    .nullable()
    .describe('of one that is under way'),
  undo: z.boolean().describe('it can be undone now'),
  may: z.object({ decide: z.boolean(), compare: z.boolean() }),
})
export const rolloutBody = z.object({
  to: revisionId.describe('id of a revision, or how it begins'),
  labels: z.record(z.string().max(253), z.string().max(63)).default({}),
  device: z.string().max(253).optional(),
  waves: z.string().max(200).optional(),
  halt: z.string().max(200).optional(),
  soakSec: z
    .int()
    .min(0)
    .max(7 * 86_400)
    .optional(),
  awaySec: z.int().min(1).max(86_400).optional(),
  id: z
    .string()
    .regex(/^[0-9a-f]{8}$/)
    .optional()
    .describe('of a preview: its devices are in the waves that were shown'),
  now: z.boolean().default(false).describe('to all at once, without waves and gates'),
  why: z.string().max(500).optional().describe('for the audit log'),
})
export const rolloutPreview = z.object({
  id: z.string(),
  to: z.string(),
  waves: z
    .array(
      z.object({
        percent: z.number(),
        devices: count,
        away: count.describe('not connected now'),
        names: z.array(z.string()).readonly().describe('the first of them'),
      }),
    )
    .readonly(),
  from: z
    .array(z.object({ revision: z.string().nullable(), devices: count }))
    .readonly()
    .describe('what they are to have now'),
})
export const whyBody = z.object({ why: z.string().max(500).optional().describe('for the audit log') })
export const rolloutDone = z.object({ rollout: rolloutRow })

export const revisionRow = z.object({
  id: z.string(),
  takenMs: ms,
  files: count,
  resources: count,
  bytes: z.number(),
  use: z
    .array(z.string())
    .readonly()
    .describe('for whom it is in force, in which rollout it is, whether the folder has it'),
})
export const revisionList = z.object({ revisions: z.array(revisionRow).readonly().describe('newest first') })
export const revisionDetail = z.object({
  revision: revisionRow,
  files: z.array(z.object({ path: z.string(), resources: count, source: z.string() })).readonly(),
  filesTotal: count,
})
export const revisionParams = z.object({ id: revisionId })
export const diffQuery = z.object({
  whole: z.enum(['true', 'false']).default('false').describe('true: so much as an answer holds, not a page of it'),
})
export const diffParams = z.object({ id: revisionId, to: revisionId })
export const revisionDiff = z.object({
  files: z
    .array(
      z.object({
        path: z.string(),
        what: z.enum(['added', 'removed', 'changed']),
        lines: z
          .array(z.string())
          .readonly()
          .describe('` same`, `-before`, `+after`, and `@@ line` where some are left out'),
      }),
    )
    .readonly(),
  filesTotal: count,
  isCut: z.boolean().describe('there is more than is shown'),
})
export const whoQuery = z.object({
  offset: z.coerce.number().int().min(0).max(10_000_000).default(0),
  limit: z.coerce.number().int().min(1).max(500).default(100),
})
export const whoPage = z.object({
  total: count,
  devices: z
    .array(
      z.object({
        name: z.string(),
        connected: z.boolean(),
        desired: z.string().nullable(),
        inForce: z.string().nullable(),
        refused: z.string().nullable(),
      }),
    )
    .readonly()
    .describe('that have it or are to have it, by name'),
})

export type RolloutItem = z.infer<typeof rolloutRow>
export type RolloutList = z.infer<typeof rolloutList>
export type RolloutDetail = z.infer<typeof rolloutDetail>
export type RolloutBody = z.input<typeof rolloutBody>
export type RolloutWish = Readonly<z.output<typeof rolloutBody>>
export type RolloutPreview = z.infer<typeof rolloutPreview>
export type RevisionItem = z.infer<typeof revisionRow>
export type RevisionList = z.infer<typeof revisionList>
export type RevisionDetail = z.infer<typeof revisionDetail>
export type RevisionDiff = z.infer<typeof revisionDiff>
export type WhoPage = z.infer<typeof whoPage>
