/** Exit codes of both programs: 0 ok, 1 failed, 2 wrong usage. */
import { MeshError, formatSentence, toMeshError } from '../../core/errors.ts'

export type ExitCode = 0 | 1 | 2

/** One sentence on stderr with code and remedy; a cause of the operating system follows in brackets. */
export function explain(thrown: unknown): { text: string; code: ExitCode } {
  const err = toMeshError(thrown)
  const cause = err.cause instanceof Error && !(err.cause instanceof MeshError) ? ` [${err.cause.message}]` : ''
  return { text: `meshlet-hub: ${formatSentence(err)}${cause}`, code: err.code === 'MESH_CONFIG_INVALID' ? 2 : 1 }
}
