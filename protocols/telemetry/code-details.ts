/** Who gave an answer and why: Envoy's %RESPONSE_CODE_DETAILS%. */
import type { ErrorCode, MeshError } from '../../core/errors.ts'
import { describeConnectFailure } from './failures.ts'

type Answered = {
  readonly error: MeshError | undefined
  /** `rule`: of the policy that refused. `details`: what the plan says itself. */
  readonly plan: { readonly kind: string; readonly rule?: string | undefined; readonly details?: string } | undefined
  /** Undefined: the endpoint has not answered. */
  readonly firstByteMs: number | undefined
}

/** Of what an endpoint, or the way to it, did; where an answer was under way it is "after_response_started". */
const RESETS: { readonly [code in ErrorCode]?: string } = {
  MESH_UPSTREAM_OVERFLOW: 'overflow',
  MESH_CONNECT_TIMEOUT: 'connection_timeout',
  MESH_UPSTREAM_RESET: 'connection_termination',
  MESH_UPSTREAM_REFUSED_STREAM: 'remote_refused_stream_reset',
  MESH_UPSTREAM_PROTOCOL: 'protocol_error',
}
const DETAILS: { readonly [code in ErrorCode]?: string } = {
  MESH_NO_ROUTE: 'route_not_found',
  MESH_NO_CLUSTER: 'cluster_not_found',
  MESH_NO_ENDPOINT: 'no_healthy_upstream',
  MESH_UPSTREAM_TIMEOUT: 'response_timeout',
  MESH_REQUEST_TIMEOUT: 'request_overall_timeout',
  MESH_IDLE_TIMEOUT: 'stream_idle_timeout',
  MESH_STREAM_DURATION: 'max_duration_timeout',
  MESH_CLIENT_GONE: 'downstream_remote_disconnect',
  MESH_UPGRADE_NOT_PERMITTED: 'upgrade_failed',
  MESH_FAULT_INJECTED: 'fault_filter_abort',
  MESH_TOKEN_REFUSED: 'jwt_authn_access_denied',
  MESH_TOKEN_AUDIENCE: 'jwt_authn_access_denied{Audiences_in_Jwt_are_not_allowed}',
  MESH_RATE_LIMITED: 'local_rate_limited',
  MESH_MALFORMED_INPUT: 'codec_error',
  MESH_REQUEST_TOO_LARGE: 'request_payload_too_large',
}

export function explainAnswer({ error, plan, firstByteMs }: Answered): string | undefined {
  if (plan?.details !== undefined) return plan.details
  if (!error)
    return plan?.kind === 'answer' ? 'direct_response' : firstByteMs === undefined ? undefined : 'via_upstream'
  const { code } = error
  if (code === 'MESH_PEER_NOT_ALLOWED') return describeDenial(plan?.rule ?? 'none')
  const failure = describeConnectFailure(error)
  const reset = failure === undefined ? RESETS[code] : `remote_connection_failure|${failure}`
  if (reset !== undefined)
    return `upstream_reset_${firstByteMs === undefined ? 'before' : 'after'}_response_started{${reset}}`
  return DETAILS[code] ?? code.toLowerCase()
}

/** @param rule of the policy that refused. @returns one word, as logs are split at spaces */
export function describeDenial(rule: string): string {
  return `rbac_access_denied_matched_policy[${rule}]`.replaceAll(/\s/g, '_')
}
