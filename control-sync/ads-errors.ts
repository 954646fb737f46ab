/** gRPC's endings of a call as catalogue codes: what a person should do, and how long the next try should wait. */
import { MeshError } from '../agent/core/errors.ts'

/** What @grpc/grpc-js gives as an error of a call. */
export type GrpcFailure = { readonly code: number; readonly details: string }

const CANCELLED = 1
const DEADLINE_EXCEEDED = 4
const PERMISSION_DENIED = 7
const RESOURCE_EXHAUSTED = 8
const UNAVAILABLE = 14
const UNAUTHENTICATED = 16

/** grpc-js reports a failed handshake as UNAVAILABLE with OpenSSL's or Node's words. */
const TLS_WORDS = /certificate|self.signed|\bSSL\b|\bTLS\b|ERR_TLS|altnames|unable to verify|EPROTO/i

/** What grpc-js puts around the operating system's words. */
const GRPC_WORDS = /^No connection established\. Last error: (?:Error: )?|\. Resolution note: ?$/g

/** @param what the call, e.g. "the configuration stream" */
export function controlError({ code, details }: GrpcFailure, what: string, address: string): MeshError {
  const bare = details.replace(GRPC_WORDS, '')
  const said = bare.length > 300 ? `${bare.slice(0, 300)}…` : bare
  switch (code) {
    case UNAUTHENTICATED: return new MeshError('MESH_CONTROL_UNAUTHENTICATED', `${address} does not accept who we are for ${what}: ${said}`)
    case PERMISSION_DENIED: return new MeshError('MESH_CONTROL_FORBIDDEN', `${address} forbids ${what}: ${said}`)
    case RESOURCE_EXHAUSTED: return new MeshError('MESH_CONTROL_SLOW_DOWN', `${address} asks to come later for ${what}: ${said}`)
    case CANCELLED:
    case DEADLINE_EXCEEDED: return new MeshError('MESH_CONTROL_UNREACHABLE', `${address} did not answer for ${what}: ${said}`)
    case UNAVAILABLE: return TLS_WORDS.test(details)
      ? new MeshError('MESH_CONTROL_TLS', `the TLS connection to ${address} failed: ${said}`)
      : new MeshError('MESH_CONTROL_UNREACHABLE', `${address} is not reachable for ${what}: ${said}`)
    default: return new MeshError('MESH_CONTROL_PROTOCOL', `${address} ended ${what} with gRPC status ${code}: ${said}`)
  }
}

/** Full jitter within these; refusals of who we are do not pass by asking often. */
export function retryPace({ code }: MeshError): { readonly baseMs: number; readonly capMs: number } {
  if (code === 'MESH_CONTROL_UNAUTHENTICATED' || code === 'MESH_CONTROL_FORBIDDEN' || code === 'MESH_CONTROL_TLS') return { baseMs: 2_000, capMs: 120_000 }
  return code === 'MESH_CONTROL_SLOW_DOWN' ? { baseMs: 4_000, capMs: 60_000 } : { baseMs: 500, capMs: 30_000 }
}
