/** Plans that refuse a request, by a rule or in the words of a filter. */
import { MeshError, type ErrorCode } from '../../../../core/errors.ts'
import type { HeaderEdit } from '../../../../model/route.ts'
import type { Routed } from '../../../router.ts'
import { NO_EDITS, type AnswerEdit } from '../../filters/route-edits.ts'
import type { Common, DeniedPlan, RefusePlan } from './plan.ts'

/**
 * `isMoved`: a filter has found out what another route may ask for. `at`: the filter at hand. `added`: what filters want
 * of every answer.
 */
export type Underway = {
  routed: Routed | undefined
  common: Mutable<Common>
  isMoved: boolean
  at: number
  readonly added: AnswerEdit[]
}
/** Answers pass the filters from the last one to the first. */
export function addToAnswer({ at, added }: Underway, edit: HeaderEdit | undefined): void {
  if (edit) added.push({ at, edit })
}
type Mutable<T> = { -readonly [key in keyof T]: T[key] }

export function refuse(
  code:
    | 'MESH_PEER_NOT_ALLOWED'
    | 'MESH_TOKEN_REFUSED'
    | 'MESH_TOKEN_AUDIENCE'
    | 'MESH_CHAIN_BLOCKED'
    | 'MESH_ROUTE_BLOCKED'
    | 'MESH_NO_ROUTE'
    | 'MESH_NO_CLUSTER'
    | 'MESH_UPGRADE_NOT_PERMITTED'
    | 'MESH_REQUEST_TOO_LARGE',
  what: string,
  common: Common,
  rule?: string,
): RefusePlan {
  return { ...common, kind: 'refuse', error: new MeshError(code, what), rule }
}

/** @param own of the answer, in the order they apply */
export function deny(
  status: number,
  code: ErrorCode,
  what: string,
  state: Underway,
  own: readonly HeaderEdit[] = NO_EDITS,
): DeniedPlan {
  return {
    ...withOwnEdits(state, own),
    kind: 'denied',
    status,
    body: '',
    error: new MeshError(code, what),
  }
}

/** A filter answers by itself; its own fields come behind what the route says of answers (Envoy's modify_headers). */
export function withOwnEdits({ common, routed }: Underway, own: readonly HeaderEdit[]): Common {
  const answered = withoutEdits(common, routed)
  return own.length === 0 ? answered : { ...answered, responseEdits: [...answered.responseEdits, ...own] }
}

/** A filter answers by itself: Envoy's redirects and direct responses edit none but their own answers. */
export function withoutEdits(common: Common, routed: Routed | undefined): Common {
  return routed?.route.action.kind === 'forward' ? common : { ...common, responseEdits: NO_EDITS }
}
