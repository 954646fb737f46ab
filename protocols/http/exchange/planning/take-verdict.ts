/** What an authorization service has said becomes part of the request, or its end. */
import { MeshError, toMeshError } from '../../../../core/errors.ts'
import { EXT_AUTHZ_METADATA, type ExtAuthz } from '../../../../model/http/ext-authz.ts'
import type { Json } from '../../../../model/http/metadata.ts'
import type { RequestFacts } from '../../../router.ts'
import {
  applyVerdict,
  toRefusalEdit,
  toResponseEdit,
  type TargetForm,
  type Verdict,
} from '../../filters/ext-authz/verdict.ts'
import { findAuthorityProblem, parsePseudoTarget } from '../../codec/h1-target.ts'
import { setHeader } from '../../filters/header-edit.ts'
import { normalizeHost, normalizePath } from '../../filters/path-normalize.ts'
import type { Plan, PlanInput } from './plan.ts'
import { addToAnswer, deny, type Underway } from './refusals.ts'

/** @returns undefined: the request goes on, changed as the service wants it */
export function takeVerdict(verdict: Verdict, authz: ExtAuthz, input: PlanInput, state: Underway): Plan | undefined {
  const { request } = input
  if ('metadata' in verdict && verdict.metadata !== undefined)
    addMetadata(request, EXT_AUTHZ_METADATA, verdict.metadata)
  switch (verdict.kind) {
    case 'ok': {
      let isChanged: boolean
      try {
        isChanged = applyVerdict(verdict, request, request.headers ?? [], formOf(input))
      } catch (thrown) {
        return refuseInvalid(toMeshError(thrown).message, authz, state)
      }
      state.isMoved = isChanged && authz.reroutes
      const edit = toResponseEdit(verdict.response)
      addToAnswer(state, edit)
      return undefined
    }
    case 'denied': {
      const { status, body } = verdict
      const why = 'the authorization service refuses the request'
      return { ...deny(status, 'MESH_EXT_AUTHZ_DENIED', why, state, [toRefusalEdit(verdict.headers)]), body }
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
    case 'invalid':
      return refuseInvalid(verdict.why, authz, state)
    default:
      return verdict satisfies never
  }
}

/** Whatever happens where nobody can be asked: somebody was, and agreed to something else. Statuses are Envoy's. */
function refuseInvalid(why: string, { validates }: ExtAuthz, state: Underway): Plan {
  return deny(validates ? 500 : 503, 'MESH_EXT_AUTHZ_UNAVAILABLE', why, state)
}

function formOf({ http, client, request }: PlanInput): TargetForm {
  return {
    path: (path) => {
      const target = parsePseudoTarget(request.method, request.authority, path)
      if (typeof target === 'string') throw malformed(target)
      return normalizePath(target.path, http)
    },
    host: (host) => {
      const problem = request.method === 'CONNECT' ? 'of a tunnel that is where it leads' : findAuthorityProblem(host)
      if (problem !== undefined) throw malformed(problem)
      return normalizeHost(host, http, client.destinationPort)
    },
  }
}
export function addMetadata(request: RequestFacts, filter: string, value: Json): void {
  request.metadata = { ...request.metadata, [filter]: value }
}
function malformed(what: string): MeshError {
  return new MeshError('MESH_MALFORMED_INPUT', `the service wants another target: ${what}`)
}
