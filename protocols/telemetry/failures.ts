/** Why a connection to an endpoint failed, in Envoy's words where it has some. */
import type { MeshError } from '../../core/errors.ts'

const CODES: ReadonlySet<string> = new Set([
  'MESH_CONNECT_FAILED',
  'MESH_UPSTREAM_TLS',
  'MESH_TLS_FILE',
  'MESH_TLS_SECRET',
  'MESH_PEER_MISMATCH',
  'MESH_NO_IDENTITY',
  'MESH_IDENTITY_EXPIRED',
])
/** strerror(3), as Envoy has it. */
const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'Connection_refused',
  ENETUNREACH: 'Network_is_unreachable',
  EHOSTUNREACH: 'No_route_to_host',
  ETIMEDOUT: 'Connection_timed_out',
  ECONNRESET: 'Connection_reset_by_peer',
}

/** One word, as logs are split at spaces; undefined for other errors. */
export function describeConnectFailure(error: MeshError | undefined): string | undefined {
  if (!error || !CODES.has(error.code)) return undefined
  const code = findCode(error)
  const words = code === undefined ? undefined : WORDS[code]
  return words === undefined ? error.message.replaceAll(/\s/g, '_') : `delayed_connect_error:_${words}`
}

function findCode(error: MeshError): string | undefined {
  const { cause } = error
  return cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : undefined
}
