/** What goes over the console's API: checked by these, described by them in its OpenAPI document, typed by them in the page. */
import * as z from 'zod'
import { labelled, queues, services, where } from './fleet-schemas.ts'

const name = z.string().min(1).max(253)
const ms = z.number().describe('milliseconds since the epoch')
const via = z.enum(['link', 'oidc', 'cli']).describe('cli: for the command line of another machine')
const labels = z.record(z.string(), z.string())
export const role = z.enum(['viewer', 'operator', 'admin'])
export const grant = z.object({ namespace: z.string().describe('`*`: all'), role })
export const problem = z.object({ code: z.string(), message: z.string(), remedy: z.string() })

const secretText = z.string().regex(/^[\w-]{43}$/)
export const loginBody = z.object({ token: z.string().min(1).max(128).describe('of the link, behind its #') })
export const whoami = z.object({
  name: z.string(),
  operator: z.string().describe('as the audit log names it'),
  via,
  grants: z.array(grant).readonly(),
  endsMs: ms,
  version: z.string().describe('of the hub'),
})
export const cliLoginBody = z.object({
  token: z.string().min(1).max(8_192).describe('of the link, behind its #; or the code of a login at the issuer'),
  verifier: secretText.optional().describe('with a code: what its challenge was made of (RFC 7636 §4.1)'),
})
/** Of a command line that waits for the browser. */
export const oidcQuery = z.object({
  port: z.coerce.number().int().min(1).max(65_535).optional().describe('of 127.0.0.1 where the browser is led to'),
  challenge: secretText.optional().describe('S256 of what the code is redeemed with (RFC 7636 §4.2)'),
})
export const cliLogin = z.object({
  secret: z.string().describe('shown as `Authorization: Bearer …`, never as a cookie'),
  session: whoami,
})
export const deviceLogin = z.object({
  flow: z.string().describe('what belongs to the login, sealed; shown to ask whether somebody has confirmed'),
  userCode: z.string().describe('what is typed at the issuer (RFC 8628 §3.2)'),
  verificationUri: z.string(),
  verificationUriComplete: z.string().optional().describe('with the code in it'),
  expiresSec: z.number(),
  intervalSec: z.number().describe('asked no more often'),
})
export const deviceLoginBody = z.object({ flow: z.string().min(1).max(12_288) })
export const deviceLoginAnswer = z.object({
  waits: z.enum(['authorization_pending', 'slow_down']).optional().describe('RFC 8628 §3.5'),
  login: cliLogin.optional(),
})
export const loginWays = z.object({ oidc: z.boolean().describe('/login/oidc leads to the issuer') })

export const DEVICE_STATES = ['connected', 'gone', 'joined', 'pending', 'suspended', 'revoked', 'unknown'] as const
export const deviceState = z.enum(DEVICE_STATES)
export const deviceRow = z.object({
  name: z.string(),
  namespace: z.string(),
  serviceAccount: z.string(),
  labels,
  state: deviceState.describe(
    'connected and gone: it has streams, or had; joined: it never had; unknown: no hub says so at present',
  ),
  sinceMs: ms.nullable().describe('connected since, or seen last'),
  address: z.string(),
  revision: z.string().nullable().describe('of the configuration that it took last'),
  refused: z.string().nullable().describe('what it says of newer configuration that it did not take'),
  notAfterMs: ms.nullable().describe('end of its newest certificate'),
  cloned: z.boolean().describe('two copies of its key were found'),
  wrong: z.array(z.string()).readonly().describe('what somebody should look at, one sentence each'),
})
export const deviceQuery = z.object({
  where,
  labels: labelled,
  search: z.string().max(253).default('').describe('part of a name, an address or key=value of a label'),
  state: deviceState.optional(),
  namespace: z.string().max(63).optional(),
  wrong: z.enum(['true', 'false']).optional().describe('true: those with something wrong'),
  offset: z.coerce.number().int().min(0).max(10_000_000).default(0),
  limit: z.coerce.number().int().min(1).max(500).default(100),
})
export const devicePage = z.object({
  total: z.int(),
  offset: z.int(),
  devices: z.array(deviceRow).readonly(),
})
const certificate = z.object({ serial: z.string(), issuedMs: ms, notAfterMs: ms, revoked: z.boolean(), ip: z.string() })
const report = z.object({
  atMs: ms.describe('when the hub got it'),
  restarts: z.int(),
  version: z.string(),
  state: z.string(),
  desired: z.string().describe('revision that it was sent last'),
  clockTrusted: z.boolean(),
  refused: z.array(z.object({ kind: z.string(), name: z.string(), reason: z.string() })).readonly(),
  bridges: z.array(z.object({ cluster: z.string(), state: z.string(), error: z.string() })).readonly(),
  problems: z.array(z.object({ code: z.string(), text: z.string(), remedy: z.string() })).readonly(),
  rttMs: z.number().nullable(),
  connections: z.number(),
  requests: z.number(),
  failures: z.number(),
  drops: z.number(),
  mqttClients: z.number(),
  bridged: z.number().describe('messages that wait for upstream brokers'),
  spoolMessages: z.number(),
  spoolBytes: z.number(),
  spoolMaxBytes: z.number(),
  bytes: z.array(z.object({ purpose: z.string(), sent: z.number(), received: z.number() })).readonly(),
  services: services.nullable().describe('null: it names none'),
  queues: queues.nullable().describe('of MQTT; null: it names none'),
})
export const deviceDetail = z.object({
  device: deviceRow,
  nodeId: z.string().nullable(),
  spiffeUri: z.string().nullable(),
  keyId: z.string().nullable().describe('thumbprint of its key; null: it has none of its own'),
  tokenId: z.string().nullable(),
  joinedMs: ms.nullable(),
  renewedMs: ms.nullable(),
  cloneAddresses: z.string().nullable(),
  waits: z.object({ keyId: z.string(), address: z.string(), why: z.string(), askedMs: ms }).nullable(),
  certificates: z.array(certificate).readonly().describe('newest first'),
  report: report.nullable().describe('what it said of itself last'),
  may: z.object({ operate: z.boolean(), administer: z.boolean() }).describe('what the session may do about it'),
})
export const historyQuery = z.object({
  step: z.enum(['minute', 'hour']).default('minute').describe('minute: of a day; hour: of 90 days'),
})
export const deviceHistory = z.object({
  points: z
    .array(
      z.object({
        atMs: ms,
        connected: z.boolean(),
        connects: z.number(),
        rttMs: z.number().nullable(),
        bytes: z.number().describe('to and from the hub in this step'),
        spool: z.number(),
        requests: z.number(),
        failures: z.number(),
        drops: z.number(),
        problems: z.number(),
      }),
    )
    .readonly()
    .describe('oldest first; a device that says nothing has none'),
})
export const named = z.object({ name })
export const approveBody = z.object({ keyId: z.string().max(128).optional().describe('whom of two is meant') })
export const csv = z.string()
export const document = z.looseObject({ openapi: z.string(), paths: z.looseObject({}) })
export const done = z.object({ detail: z.string() })

const count = z.int()
const counted = z.object({ name: z.string(), total: count, connected: count, wrong: count })
export const overview = z.object({
  nowMs: ms,
  hub: z.object({ version: z.string(), startedMs: ms }),
  total: count,
  states: z.record(deviceState, count),
  wrong: z.array(deviceRow).readonly().describe('the first of those with something wrong'),
  wrongTotal: count,
  silent: count.describe('not connected, and seen last over ten minutes ago'),
  refusing: count,
  cloned: count,
  pending: count,
  ending: z.object({ ended: count, day: count, week: count }).describe('certificates that end within'),
  revisions: z.array(z.object({ revision: z.string(), devices: count })).readonly(),
  sites: z
    .array(counted.extend({ lat: z.number().nullable(), lon: z.number().nullable() }))
    .readonly()
    .describe('by the label `site`, else by `lat` and `lon`, which are 48.1 or 33.9S, and 11.6 or 70.2W, in degrees'),
  namespaces: z.array(counted).readonly(),
  rollout: z
    .object({
      id: z.string(),
      to: z.string(),
      state: z.enum(['running', 'paused', 'halted']),
      wave: count,
      waveCount: count,
      reason: z.string(),
    })
    .nullable()
    .describe('that is under way, or was the last and has halted; for who sees all namespaces'),
})

export const tokenRow = z.object({
  id: z.string(),
  namespace: z.string(),
  serviceAccount: z.string(),
  nodes: z.string().nullable(),
  state: z.enum(['valid', 'revoked', 'ended', 'used up']),
  uses: count,
  maxUses: count.nullable(),
  createdMs: ms,
  expiresMs: ms,
  revokedMs: ms.nullable(),
  cidrs: z.array(z.string()).readonly(),
  labels,
  approval: z.boolean(),
  devices: z.array(z.string()).readonly().describe('that joined with it: the first of them'),
  devicesTotal: count,
})
export const tokenList = z.object({ total: count, tokens: z.array(tokenRow).readonly() })
export const tokenQuery = z.object({
  devices: z.coerce.number().int().min(0).max(10_000).default(5).describe('so many of its devices are named'),
  offset: z.coerce.number().int().min(0).max(10_000_000).default(0),
  limit: z.coerce.number().int().min(1).max(500).default(100),
})
export const tokenBody = z.object({
  namespace: z.string().min(1).max(63),
  serviceAccount: z.string().min(1).max(253),
  nodes: name.describe('a name, or a pattern with *'),
  ttlSec: z
    .int()
    .min(60)
    .max(365 * 86_400)
    .optional(),
  maxUses: z.int().min(1).max(999_999_999).optional(),
  cidrs: z.array(z.string().max(64)).max(32).default([]),
  labels: z.record(z.string().max(253), z.string().max(63)).default({}),
  approval: z.boolean().default(false),
})
export const tokenRevoked = z.object({ detail: z.string(), token: tokenRow })
export const tokenMade = z.object({
  id: z.string(),
  token: z.string().describe('shown once'),
  expiresMs: ms,
  joinAddress: z.string().describe('of the hub, for `meshlet join`'),
})
export const tokensBody = tokenBody
  .omit({ nodes: true })
  .extend({ nodes: z.array(name).min(1).max(200).describe('of one token each: a name, or a pattern with *') })
export const tokensMade = z.object({ tokens: z.array(tokenMade.omit({ joinAddress: true })).readonly() })
export const identified = z.object({ id: z.string().min(1).max(128) })

export const joinRequest = z.object({
  name: z.string(),
  namespace: z.string(),
  serviceAccount: z.string(),
  keyId: z.string(),
  address: z.string(),
  labels,
  why: z.string(),
  askedMs: ms,
  holder: z.string().nullable().describe('key that has the name now'),
})
export const enrolment = z.object({
  waiting: z.array(joinRequest).readonly(),
  clones: z
    .array(deviceRow.extend({ keyId: z.string().nullable(), cloneAddresses: z.string().nullable() }))
    .readonly()
    .describe('with the addresses that its copies came from'),
  keptOut: z.array(deviceRow).readonly().describe('revoked or suspended'),
})

export const approveManyBody = z.object({
  devices: z
    .array(z.object({ name, keyId: z.string().min(1).max(128).describe('who was seen to wait') }))
    .min(1)
    .max(200),
})
export const approvedMany = z.object({
  approved: z.array(z.string()).readonly(),
  failed: z.array(z.object({ name: z.string(), why: z.string() })).readonly(),
})

const auditFilters = {
  subject: z.string().max(253).optional(),
  event: z.string().max(64).optional().describe('device.revoked, or how it begins: device.'),
  actor: z.string().max(300).optional().describe('operator:ann, device:gw-1, hub'),
  since: z.coerce.number().int().min(0).optional().describe('milliseconds since the epoch'),
  until: z.coerce.number().int().min(0).optional(),
}
export const auditCsvQuery = z.object(auditFilters)
export const auditQuery = z.object({
  before: z.coerce.number().int().min(1).optional().describe('entries older than this id'),
  ...auditFilters,
  limit: z.coerce.number().int().min(1).max(500).default(100),
})
export const auditRow = z.object({
  id: z.int(),
  atMs: ms,
  actor: z.string(),
  event: z.string(),
  subject: z.string(),
  address: z.string(),
  detail: z.string(),
})
export const auditPage = z.object({ entries: z.array(auditRow).readonly().describe('newest first') })

export const sessionRow = z.object({
  id: z.string(),
  name: z.string(),
  operator: z.string(),
  via,
  grants: z.array(grant).readonly(),
  createdMs: ms,
  seenMs: ms,
  endsMs: ms,
  address: z.string(),
  claims: z.array(z.string()).readonly().describe('of the issuer'),
  own: z.boolean().describe('that of whoever asks'),
})
export const ended = z.object({ ended: count.describe('sessions, and links that were not used') })
export const endBody = z.object({ operator: z.string().min(1).max(300).describe('operator:ann') })
export const sessionList = z.object({ sessions: z.array(sessionRow).readonly() })

/**
 * Of `/api/v1/events`, by the name of the event. `reset`: ask anew, for something may have been missed; `ready`: nothing
 * is missed from here on.
 */
export const events = {
  devices: z.object({ changed: z.array(deviceRow).readonly(), removed: z.array(z.string()).readonly() }),
  changed: z.object({ topics: z.array(z.enum(['enrolment', 'tokens', 'rollouts', 'audit'])).readonly() }),
  reset: z.object({}),
  ready: z.object({}),
} as const

export const stream = z
  .string()
  .describe(`events ${Object.keys(events).join(', ')}, and over when the session is; data is JSON`)

export type Whoami = z.infer<typeof whoami>
export type Problem = z.infer<typeof problem>
export type DeviceLogin = z.infer<typeof deviceLogin>
export type DeviceLoginAnswer = z.infer<typeof deviceLoginAnswer>
export type CliLogin = z.infer<typeof cliLogin>
export type OidcQuery = z.infer<typeof oidcQuery>
export type LoginWays = z.infer<typeof loginWays>
export type DeviceState = z.infer<typeof deviceState>
export type DeviceRow = Readonly<z.infer<typeof deviceRow>>
export type DeviceQuery = z.infer<typeof deviceQuery>
export type DevicePage = z.infer<typeof devicePage>
export type DeviceDetail = z.infer<typeof deviceDetail>
export type DeviceHistory = z.infer<typeof deviceHistory>
export type Overview = z.infer<typeof overview>
export type TokenItem = z.infer<typeof tokenRow>
export type TokenList = z.infer<typeof tokenList>
export type TokenBody = z.input<typeof tokenBody>
export type TokenWish = Readonly<z.output<typeof tokenBody>>
export type TokensBody = z.input<typeof tokensBody>
export type TokensWish = Readonly<z.output<typeof tokensBody>>
export type TokensMade = z.infer<typeof tokensMade>
export type TokenMade = z.infer<typeof tokenMade>
export type JoinRequestItem = z.infer<typeof joinRequest>
export type ApproveMany = z.infer<typeof approveManyBody>
export type ApprovedMany = z.infer<typeof approvedMany>
export type AuditFilters = z.infer<typeof auditCsvQuery>
export type Enrolment = z.infer<typeof enrolment>
export type AuditItem = z.infer<typeof auditRow>
export type AuditPage = z.infer<typeof auditPage>
export type SessionItem = z.infer<typeof sessionRow>
export type SessionList = z.infer<typeof sessionList>
