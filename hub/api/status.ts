/** MeshError → gRPC status. The message is one sentence with code and remedy; causes stay in the hub's log. */
import { status, type StatusObject } from '@grpc/grpc-js'
import { formatSentence, toMeshError, type ErrorCode } from '../../core/errors.ts'

/**
 * gRPC codes as istiod uses them (reference: istio security/pkg/server/ca, pilot/pkg/xds/auth.go); the rest is
 * INTERNAL.
 */
const GRPC: Partial<Record<ErrorCode, status>> = {
  MESH_CONTROL_UNAUTHENTICATED: status.UNAUTHENTICATED,
  MESH_TOKEN_INVALID: status.UNAUTHENTICATED,
  MESH_CONTROL_FORBIDDEN: status.PERMISSION_DENIED,
  MESH_MALFORMED_INPUT: status.INVALID_ARGUMENT,
  MESH_CONTROL_PROTOCOL: status.INVALID_ARGUMENT,
  MESH_CONTROL_SLOW_DOWN: status.RESOURCE_EXHAUSTED,
  MESH_DRAINING: status.UNAVAILABLE,
  MESH_CLOCK_WRONG: status.FAILED_PRECONDITION,
  MESH_IDENTITY_EXPIRED: status.FAILED_PRECONDITION,
  MESH_STORAGE_FULL: status.UNAVAILABLE,
  MESH_STORAGE_FAILED: status.UNAVAILABLE,
}

export function toGrpcStatus(thrown: unknown): Pick<StatusObject, 'code' | 'details'> {
  const err = toMeshError(thrown)
  const code = GRPC[err.code] ?? status.INTERNAL
  // The text of an unforeseen error may quote secrets.
  return {
    code,
    details: err.code === 'MESH_INTERNAL' ? 'MESH_INTERNAL: the hub failed; its log says why' : formatSentence(err),
  }
}
