/** MeshError → HTTP: the catalogue's code with message and remedy as JSON. Causes stay in the hub's log. */
import { toMeshError, type ErrorCode, type MeshError } from '../../../core/errors.ts'

/** Where another status says it better than that of the data path. */
const STATUS: Partial<Record<ErrorCode, number>> = {
  MESH_CONTROL_FORBIDDEN: 403,
  MESH_CONTROL_SLOW_DOWN: 429,
  MESH_MALFORMED_INPUT: 400,
  // What an operator asks for, and not what hub.yaml says.
  MESH_CONFIG_INVALID: 400,
  MESH_STORAGE_FULL: 503,
  MESH_STORAGE_FAILED: 503,
  MESH_CLOCK_WRONG: 503,
}

export type ErrorBody = { readonly code: ErrorCode; readonly message: string; readonly remedy: string }

export function toHttpError(thrown: unknown): {
  readonly status: number
  readonly body: ErrorBody
  readonly err: MeshError
} {
  const err = toMeshError(thrown)
  // The text of an unforeseen error may quote secrets.
  const message = err.code === 'MESH_INTERNAL' ? 'the hub failed; its log says why' : err.message
  return { status: STATUS[err.code] ?? err.row.http, body: { code: err.code, message, remedy: err.row.remedy }, err }
}
