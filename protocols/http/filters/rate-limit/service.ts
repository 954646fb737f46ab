/** envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit: the question, and what the answer means. Pure. */
import type { GlobalRateLimit } from '../../../../model/http/global-rate-limit.ts'
import type { HeaderEdit } from '../../../../model/http/header-edit.ts'
import type { GrpcAuthService } from '../../../../model/http/ext-authz.ts'
import type { Descriptor } from '../../../../model/http/rate-limit.ts'
import { decodeStruct } from '../../../protobuf/struct.ts'
import type { Json } from '../../../../model/http/metadata.ts'
import { frameUnary } from '../../grpc-unary.ts'
import type { FramedQuestion, NoAnswer } from '../../service-question.ts'
import {
  type Field,
  findBytes,
  findNumber,
  MessageWriter,
  readGrpc,
  readMessage,
  readText,
} from '../../../protobuf/message.ts'
import type { HeaderChange } from '../ext-authz/verdict.ts'

const PATH = '/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit'

export type LimitAnswer =
  | {
      readonly kind: 'ok' | 'over'
      /** One for each descriptor; undefined = it has no limit. */
      readonly statuses: readonly (DescriptorStatus | undefined)[]
      /** Until the last descriptor of which too many have come is free again; undefined = there is none. */
      readonly retryAfterSec: number | undefined
      /** Of the answer to the client, and of the request. */
      readonly response: readonly HeaderChange[]
      readonly request: readonly HeaderChange[]
      /** A byte a character. */
      readonly body: string
      readonly metadata: Json
    }
  /** Nobody knows. */
  | NoAnswer
export type DescriptorStatus = {
  readonly name: string
  readonly limit: number
  /** 0: in no unit of time that is known. */
  readonly windowSec: number
  readonly remaining: number
  readonly resetSec: number
}

export function makeLimitQuestion(
  service: GrpcAuthService,
  domain: string,
  descriptors: readonly Descriptor[],
): FramedQuestion {
  const made = new MessageWriter().text(1, domain)
  for (const { entries, limit, hits, givesBack } of descriptors) {
    const descriptor = new MessageWriter()
    for (const [key, value] of entries) descriptor.message(1, new MessageWriter().text(1, key).text(2, value))
    if (limit) descriptor.message(2, new MessageWriter().integer(1, limit.perUnit).integer(2, limit.unit))
    if (hits !== undefined) descriptor.message(3, new MessageWriter().integer(1, hits))
    if (givesBack) descriptor.integer(4, 1)
    made.message(2, descriptor)
  }
  return frameUnary(service, PATH, made)
}

/** @param bytes all of the answer's body @param status grpc-status; undefined: none came */
export function readLimitAnswer(bytes: Buffer, status: string | undefined): LimitAnswer {
  if (status !== '0') return { kind: 'error', why: `the service answered with grpc-status ${status ?? '(none)'}` }
  const fields = readGrpc(bytes)
  const kind = fields && CODES[findNumber(fields, 1)]
  if (!fields || !kind) return { kind: 'error', why: 'the answer of the service is no RateLimitResponse' }
  const struct = findBytes(fields, 6)
  const statuses = messagesOf(fields, 2)
  const over = statuses.filter((status) => CODES[findNumber(status, 1)] === 'over').map(readResetSec)
  return {
    kind,
    statuses: statuses.map(readStatus),
    retryAfterSec: over.length === 0 ? undefined : Math.max(...over),
    response: headersOf(fields, 3),
    request: headersOf(fields, 4),
    body: findBytes(fields, 5)?.toString('latin1') ?? '',
    metadata: struct && decodeStruct(struct),
  }
}
/** UNKNOWN says nothing. */
const CODES: Readonly<Record<number, 'ok' | 'over'>> = { 1: 'ok', 2: 'over' }

function messagesOf(fields: readonly Field[], no: number): (readonly Field[])[] {
  return fields.flatMap((field) => (field.no === no ? [readMessage(field.bytes) ?? []] : []))
}

function headersOf(fields: readonly Field[], no: number): HeaderChange[] {
  return messagesOf(fields, no).map((header) => {
    const raw = findBytes(header, 3)?.toString('latin1')
    const value = raw === undefined || raw === '' ? readText(header, 2) : raw
    return { name: readText(header, 1).toLowerCase(), value, how: 'add' }
  })
}

function readStatus(status: readonly Field[]): DescriptorStatus | undefined {
  const limit = readMessage(findBytes(status, 2) ?? NOTHING)
  if (findBytes(status, 2) === undefined || !limit) return undefined
  return {
    name: readText(limit, 3),
    limit: findNumber(limit, 1),
    windowSec: WINDOWS[findNumber(limit, 2)] ?? 0,
    remaining: findNumber(status, 3),
    resetSec: readResetSec(status),
  }
}
const readResetSec = (status: readonly Field[]): number =>
  findNumber(readMessage(findBytes(status, 4) ?? NOTHING) ?? [], 1)
const NOTHING = Buffer.alloc(0)
const DAY = 86_400
/** SECOND, MINUTE, HOUR, DAY, MONTH, YEAR, WEEK. */
const WINDOWS: Readonly<Record<number, number>> = {
  1: 1,
  2: 60,
  3: 3_600,
  4: DAY,
  5: 30 * DAY,
  6: 365 * DAY,
  7: 7 * DAY,
}

/**
 * draft-polli-ratelimit-headers-03, as Envoy words it: of the descriptor that has least left, and all policies.
 * @param tells whether answers say so: of each descriptor, and of those of which nothing is said
 */
export function tellStatuses(
  statuses: readonly (DescriptorStatus | undefined)[],
  tells: { readonly ofEach: readonly (boolean | undefined)[]; readonly others: boolean },
): HeaderChange[] {
  const all = statuses.flatMap((status, i) => (status ? [{ status, isTold: tells.ofEach[i] ?? tells.others }] : []))
  const [first] = all
  if (!first) return []
  const least = all.reduce((a, b) => (b.status.remaining < a.status.remaining ? b : a), first)
  if (!least.isTold) return []
  const policies = all
    .filter(({ status, isTold }) => isTold && status.windowSec > 0)
    .map(({ status: { limit, windowSec, name } }) => `, ${limit};w=${windowSec}${name === '' ? '' : `;name="${name}"`}`)
  return [
    { name: 'x-ratelimit-limit', value: `${least.status.limit}${policies.join('')}`, how: 'add' },
    { name: 'x-ratelimit-remaining', value: String(least.status.remaining), how: 'add' },
    { name: 'x-ratelimit-reset', value: String(least.status.resetSec), how: 'add' },
  ]
}

const TOO_MANY_REQUESTS = 429
/** As Envoy's, of a second at least, and with 429 only. */
export function tellRetryAfter(
  { tellsRetryAfter, status }: Pick<GlobalRateLimit, 'tellsRetryAfter' | 'status'>,
  seconds: number | undefined,
): HeaderEdit[] {
  if (!tellsRetryAfter || status !== TOO_MANY_REQUESTS || seconds === undefined) return []
  return [{ remove: [], add: [{ name: 'retry-after', value: String(Math.max(1, seconds)), how: 'if-absent' }] }]
}
