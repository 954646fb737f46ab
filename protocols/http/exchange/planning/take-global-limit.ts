/** A service that counts requests is asked, and what it says becomes part of the answer, or the answer. */
import type { GlobalRateLimit, RouteGlobalLimit } from '../../../../model/http/global-rate-limit.ts'
import type { HeaderEdit } from '../../../../model/route.ts'
import { applyVerdict, toResponseEdit, type HeaderChange } from '../../filters/ext-authz/verdict.ts'
import { collectDescriptors, hasDestination } from '../../filters/rate-limit/descriptors.ts'
import { isDrawn, type LimitResult } from '../../filters/rate-limit/filter.ts'
import { makeLimitQuestion, tellRetryAfter, tellStatuses, type LimitAnswer } from '../../filters/rate-limit/service.ts'
import type { FramedQuestion } from '../../service-question.ts'
import type { Plan, PlanInput } from './plan.ts'
import { addToAnswer, deny, refuse, withoutEdits, type Underway } from './refusals.ts'
import { addMetadata } from './take-verdict.ts'

const RESOURCE_EXHAUSTED = 8

export type LimitQuestion = FramedQuestion & {
  /** Whether answers say what is left of each descriptor; undefined = as the filter has it. */
  readonly tells: readonly (boolean | undefined)[]
}

/** @returns what to ask; undefined: nothing; or a refusal, where nobody could count it */
export function planQuestion(
  settings: GlobalRateLimit,
  own: RouteGlobalLimit | undefined,
  { request, client, random, clocks, tables }: PlanInput,
  { common, routed }: Underway,
): LimitQuestion | Plan | undefined {
  // As in Envoy, requests that go nowhere are not counted, whatever rules the filter has of its own.
  if (!hasDestination(request, routed, tables) || !isDrawn(settings.enabledFraction, random)) return undefined
  const rules = own && own.rules.length > 0 ? own.rules : settings.rules
  const wanted = { rules, hostRules: own?.hostRules ?? 'override', stage: settings.stage }
  const ownCluster = clocks.telemetry?.serviceName
  const found = collectDescriptors(wanted, { request, remoteIp: client.remoteIp, ownCluster, routed }, 'service')
  if ('unsupported' in found) {
    const why = `a rate limit counts by ${found.unsupported}, which is not supported`
    return refuse('MESH_CHAIN_BLOCKED', why, withoutEdits(common, routed))
  }
  if (found.length === 0) return undefined
  const question = makeLimitQuestion(settings.service, own?.domain || settings.domain, found)
  return { ...question, tells: found.map(({ tellsRest }) => tellsRest) }
}

/** @returns undefined: the request goes on */
export function takeAnswer(
  answer: LimitAnswer,
  { settings, tells }: { readonly settings: GlobalRateLimit } & Pick<LimitQuestion, 'tells'>,
  { request, random }: PlanInput,
  state: Underway,
): Plan | undefined {
  if (answer.kind === 'error') {
    const isDenied = isDrawn(settings.deniedOnFailure, random)
    note(isDenied ? 'refused' : 'unknown', settings, state)
    if (!isDenied) return undefined
    return {
      ...deny(settings.statusOnError, 'MESH_RATE_LIMIT_UNAVAILABLE', answer.why, state),
      details: 'rate_limiter_error',
    }
  }
  if (answer.metadata !== undefined) addMetadata(request, settings.metadataName, answer.metadata)
  const isOver = answer.kind === 'over'
  const isRefused = isOver && isDrawn(settings.enforcedFraction, random)
  note(isRefused ? 'refused' : answer.kind, settings, state)
  const told = [
    ...answer.response,
    ...(isOver && settings.tellsLimited ? [LIMITED] : []),
    ...tellStatuses(answer.statuses, { ofEach: tells, others: settings.tellsRest }),
  ]
  if (isRefused) {
    const why = 'a rate limit service says that it is too much'
    const own = [...toEdits(told), settings.answerHeaders, ...tellRetryAfter(settings, answer.retryAfterSec)]
    return {
      ...deny(settings.status, 'MESH_RATE_LIMITED', why, state, own),
      body: answer.body,
      details: 'request_rate_limited',
      ...(settings.isExhaustion && { grpcStatus: RESOURCE_EXHAUSTED }),
    }
  }
  const edit = toResponseEdit(told)
  addToAnswer(state, edit)
  applyVerdict({ ...NO_CHANGES, request: answer.request }, request, request.headers ?? [])
  return undefined
}
function toEdits(told: readonly HeaderChange[]): readonly HeaderEdit[] {
  const edit = toResponseEdit(told)
  if (!edit) return []
  // As in Envoy, its type of the text is the only one.
  return [{ ...edit, remove: told.some(({ name }) => name === 'content-type') ? ['content-type'] : [] }]
}
const LIMITED: HeaderChange = { name: 'x-envoy-ratelimited', value: 'true', how: 'set' }
const NO_CHANGES = { kind: 'ok', request: [], remove: [], response: [], query: [], metadata: undefined } as const

function note(result: LimitResult, { statPrefix: prefix }: GlobalRateLimit, { common }: Underway): void {
  common.limited = [...(common.limited ?? []), { prefix, result }]
}
