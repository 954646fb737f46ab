/** Exit codes of both programs: 0 ok, 1 failed, 2 wrong usage. */
import { MeshError, formatSentence, toMeshError } from '../errors.ts'

export type ExitCode = 0 | 1 | 2

/** Codes that blame the caller's arguments or files, and not the environment. */
const USAGE = new Set(['MESH_CONFIG_INVALID'])

/** One sentence on stderr with code and remedy; a cause of the operating system follows in brackets. */
export function explain(program: string, thrown: unknown): { text: string; code: ExitCode } {
  const err = toMeshError(thrown)
  const cause =
    err.cause instanceof Error && !(err.cause instanceof MeshError) && !err.message.includes(err.cause.message)
      ? ` [${err.cause.message}]`
      : ''
  return { text: `${program}: ${formatSentence(err)}${cause}`, code: USAGE.has(err.code) ? 2 : 1 }
}
