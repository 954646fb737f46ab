/** gRPC's endings of a call as catalogue codes: what a person should do, and how long the next try should wait. */
import { MeshError } from '../agent/core/errors.ts'

/** What @grpc/grpc-js gives as an error of a call. */
export type GrpcFailure = { readonly code: number; readonly details: string }

const CANCELLED = 1
const INVALID_ARGUMENT = 3
const DEADLINE_EXCEEDED = 4
const PERMISSION_DENIED = 7
const RESOURCE_EXHAUSTED = 8
const FAILED_PRECONDITION = 9
const UNAVAILABLE = 14
const UNAUTHENTICATED = 16

/** grpc-js reports a failed handshake as UNAVAILABLE with OpenSSL's or Node's words. */
const TLS_WORDS = /certificate|self.signed|\bSSL\b|\bTLS\b|ERR_TLS|altnames|unable to verify|EPROTO/i

/** Node's words for a certificate of somebody else. */
const NAME_WORDS = /altnames/i

/** The server's alerts about the certificate that it was shown (RFC 8446 §6.2), in OpenSSL's words. */
const REFUSED_CERTIFICATE = /alert (unknown ca|bad certificate|certificate (?:expired|revoked|unknown|required)|unsupported certificate|access denied)/i

/** What grpc-js puts around the operating system's words. */
const GRPC_WORDS = /^No connection established\. Last error: (?:Error: )?|\. Resolution note: ?$/g

/**
 * @param what the call, e.g. "the configuration stream"
 * @param shown what we proved ourselves with, e.g. "the certificate of spiffe://…"
 */
export function controlError({ code, details }: GrpcFailure, what: string, address: string, shown: string): MeshError {
  const bare = details.replace(GRPC_WORDS, '')
  const said = bare.length > 300 ? `${bare.slice(0, 300)}…` : bare
  switch (code) {
    case UNAUTHENTICATED: return new MeshError('MESH_CONTROL_UNAUTHENTICATED', `${address} does not accept who we are for ${what}: ${said.replace(/\.$/, '')}; it was shown ${shown}`)
    case PERMISSION_DENIED: return new MeshError('MESH_CONTROL_FORBIDDEN', `${address} forbids ${what}: ${said}`)
    case INVALID_ARGUMENT:
    case FAILED_PRECONDITION: return new MeshError('MESH_CONTROL_REFUSED', `${address} refuses ${what}: ${said}`)
    case RESOURCE_EXHAUSTED: return new MeshError('MESH_CONTROL_SLOW_DOWN', `${address} asks to come later for ${what}: ${said}`)
    case CANCELLED:
    case DEADLINE_EXCEEDED: return new MeshError('MESH_CONTROL_UNREACHABLE', `${address} did not answer for ${what}: ${said}`)
    case UNAVAILABLE: return unavailable(details, said, what, address, shown)
    default: return new MeshError('MESH_CONTROL_PROTOCOL', `${address} ended ${what} with gRPC status ${code}: ${said}`)
  }
}

function unavailable(details: string, said: string, what: string, address: string, shown: string): MeshError {
  const [, refused] = REFUSED_CERTIFICATE.exec(details) ?? []
  if (refused !== undefined) return new MeshError('MESH_CONTROL_UNAUTHENTICATED', `${address} does not accept who we are for ${what}: TLS alert "${refused}"; it was shown ${shown}`)
  if (NAME_WORDS.test(details)) return new MeshError('MESH_CONTROL_NAME', `${address} is not who it should be: ${said.replace(/^.*?altnames: /, '')}`)
  if (TLS_WORDS.test(details)) return new MeshError('MESH_CONTROL_TLS', `the TLS connection to ${address} failed: ${said}`)
  return new MeshError('MESH_CONTROL_UNREACHABLE', `${address} is not reachable for ${what}: ${said}`)
}

/** Until a person has put something right. */
const LASTING: ReadonlySet<string> = new Set(['MESH_CONTROL_UNAUTHENTICATED', 'MESH_CONTROL_FORBIDDEN', 'MESH_CONTROL_REFUSED', 'MESH_CONTROL_TLS', 'MESH_CONTROL_NAME'])

/** Full jitter within these; refusals of who we are do not pass by asking often. */
export function retryPace({ code }: MeshError): { readonly baseMs: number; readonly capMs: number } {
  if (LASTING.has(code)) return { baseMs: 2_000, capMs: 120_000 }
  return code === 'MESH_CONTROL_SLOW_DOWN' ? { baseMs: 4_000, capMs: 60_000 } : { baseMs: 500, capMs: 30_000 }
}
