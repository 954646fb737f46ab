/** What an authorization service has said becomes part of the request, or its end. */
import { EXT_AUTHZ_METADATA, type ExtAuthz } from '../../../../model/http/ext-authz.ts'
import type { Json } from '../../../../model/http/metadata.ts'
import type { RequestFacts } from '../../../router.ts'
import { applyVerdict, toAnswerHeaders, toResponseEdit, type Verdict } from '../../filters/ext-authz/verdict.ts'
import { setHeader } from '../../filters/header-edit.ts'
import type { Plan, PlanInput } from './plan.ts'
import { deny, type Underway } from './refusals.ts'

/** @returns undefined: the request goes on, changed as the service wants it */
export function takeVerdict(
  verdict: Verdict,
  authz: ExtAuthz,
  { request }: PlanInput,
  state: Underway,
): Plan | undefined {
  if ('metadata' in verdict && verdict.metadata !== undefined)
    addMetadata(request, EXT_AUTHZ_METADATA, verdict.metadata)
  switch (verdict.kind) {
    case 'ok': {
      const isChanged = applyVerdict(verdict, request, request.headers ?? [])
      state.isMoved = isChanged && authz.reroutes
      const edit = toResponseEdit(verdict.response)
      if (edit) state.added.push(edit)
      return undefined
    }
    case 'denied': {
      const { status, body } = verdict
      const plan = deny(status, 'MESH_EXT_AUTHZ_DENIED', 'the authorization service refuses the request', state)
      return { ...plan, fields: toAnswerHeaders(verdict.headers), body }
    }
    case 'too-large': {
      const why = 'the body is larger than the authorization service takes'
      return { ...deny(413, 'MESH_EXT_AUTHZ_BODY_TOO_LARGE', why, state), body: 'Payload Too Large' }
    }
    case 'error':
      if (!authz.failureAllows) return deny(authz.statusOnError, 'MESH_EXT_AUTHZ_UNAVAILABLE', verdict.why, state)
      if (authz.failureIsTold && request.headers)
        setHeader(request.headers, 'x-envoy-auth-failure-mode-allowed', 'true')
      return undefined
    default:
      return verdict satisfies never
  }
}
export function addMetadata(request: RequestFacts, filter: string, value: Json): void {
  request.metadata = { ...request.metadata, [filter]: value }
}
