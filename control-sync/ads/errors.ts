/** gRPC's endings of a call as catalogue codes: what a person should do, and how long the next try should wait. */
import { computeBackoffMs, type Random } from '../../core/os/clock.ts'
import { MeshError, type ErrorCode } from '../../core/errors.ts'

/** What @grpc/grpc-js gives as an error of a call. */
export type GrpcFailure = { readonly code: number; readonly details: string }

const CANCELLED = 1
const UNKNOWN = 2
const INVALID_ARGUMENT = 3
const DEADLINE_EXCEEDED = 4
const PERMISSION_DENIED = 7
const RESOURCE_EXHAUSTED = 8
const FAILED_PRECONDITION = 9
const UNIMPLEMENTED = 12
const UNAVAILABLE = 14
const UNAUTHENTICATED = 16

/** grpc-js reports a failed handshake as UNAVAILABLE with OpenSSL's or Node's words. */
const TLS_WORDS = /certificate|self.signed|\bSSL\b|\bTLS\b|ERR_TLS|altnames|unable to verify|EPROTO/i
/** OpenSSL's for an answer that is no TLS record: HTTP/2 frames of a port without TLS. */
const PLAIN_WORDS = /wrong version number|packet length too long/i
/** Node's words for a certificate of somebody else. */
const NAME_WORDS = /altnames/i
/** The server's alerts about the certificate that it was shown (RFC 8446 §6.2), in OpenSSL's words. */
const REFUSED_CERTIFICATE =
  /alert (unknown ca|bad certificate|certificate (?:expired|revoked|unknown|required)|unsupported certificate|access denied)/i
/** grpc-js for a message above grpc.max_receive_message_length, before and after it was decompressed. */
const SIZE_WORDS = /larger than (?:max )?/i
/** grpc-go: `Decompressor is not installed for grpc-encoding "gzip"`; grpc-js: `… unsupported encoding "gzip"`. */
const ENCODING_WORDS = /decompressor|grpc-encoding|unsupported (?:encoding|compression)/i

/** What grpc-js puts around the operating system's words. */
const GRPC_WORDS = /^No connection established\. Last error: (?:Error: )?|\. Resolution note: ?$/g

/**
 * @param what the call, e.g. "the configuration stream"
 * @param shown what we proved ourselves with, e.g. "the certificate of spiffe://…"
 */
export function toControlError(
  { code, details }: GrpcFailure,
  what: string,
  address: string,
  shown: string,
): MeshError {
  const bare = details.replace(GRPC_WORDS, '')
  const said = bare.length > 300 ? `${bare.slice(0, 300)}…` : bare
  const as = (error: ErrorCode, text: string): MeshError => new MeshError(error, `${text}: ${said}`)
  switch (code) {
    case UNAUTHENTICATED:
      return new MeshError(
        'MESH_CONTROL_UNAUTHENTICATED',
        `${address} does not accept who we are for ${what}: ${said.replace(/\.$/, '')}; it was shown ${shown}`,
      )
    case PERMISSION_DENIED:
      return as('MESH_CONTROL_FORBIDDEN', `${address} forbids ${what}`)
    case RESOURCE_EXHAUSTED:
      return SIZE_WORDS.test(details)
        ? as('MESH_CONTROL_MESSAGE_SIZE', `${address} sent more in one message of ${what} than is taken`)
        : as('MESH_CONTROL_SLOW_DOWN', `${address} asks to come later for ${what}`)
    case INVALID_ARGUMENT:
    case FAILED_PRECONDITION:
      return as('MESH_CONTROL_REFUSED', `${address} does not take this node as it describes itself`)
    case UNIMPLEMENTED:
      return ENCODING_WORDS.test(details)
        ? as('MESH_CONTROL_COMPRESSION', `${address} cannot read compressed requests`)
        : as('MESH_CONTROL_UNIMPLEMENTED', `${address} does not know ${what}`)
    case DEADLINE_EXCEEDED:
      return as('MESH_CONTROL_TIMEOUT', `${address} did not answer in time for ${what}`)
    case CANCELLED:
      return as('MESH_CONTROL_UNREACHABLE', `${address} did not answer for ${what}`)
    case UNAVAILABLE:
      return unavailable(details, said, what, address, shown)
    // istiod before its caches are filled (a Go error without a status).
    case UNKNOWN:
      return /not ready/i.test(details)
        ? as('MESH_CONTROL_UNREACHABLE', `${address} is not ready for ${what}`)
        : as('MESH_CONTROL_PROTOCOL', `${address} ended ${what} with gRPC status ${code}`)
    default:
      return as('MESH_CONTROL_PROTOCOL', `${address} ended ${what} with gRPC status ${code}`)
  }
}

function unavailable(details: string, said: string, what: string, address: string, shown: string): MeshError {
  const [, refused] = REFUSED_CERTIFICATE.exec(details) ?? []
  if (refused !== undefined)
    return new MeshError(
      'MESH_CONTROL_UNAUTHENTICATED',
      `${address} does not accept who we are for ${what}: TLS alert "${refused}"; it was shown ${shown}`,
    )
  if (NAME_WORDS.test(details))
    return new MeshError(
      'MESH_CONTROL_NAME',
      `${address} is not who it should be: ${said.replace(/^.*?altnames: /, '')}`,
    )
  if (PLAIN_WORDS.test(details))
    return new MeshError('MESH_CONTROL_PLAIN', `${address} answers without TLS where ${what} is asked for: ${said}`)
  if (TLS_WORDS.test(details))
    return new MeshError('MESH_CONTROL_TLS', `the TLS connection to ${address} failed: ${said}`)
  return new MeshError('MESH_CONTROL_UNREACHABLE', `${address} is not reachable for ${what}: ${said}`)
}

/** `minMs` before the jitter, `baseMs` and `capMs` of the jitter. */
export type Backoff = { readonly minMs: number; readonly baseMs: number; readonly capMs: number }

/** Nothing but a person's or an issuer's doing changes these; asking often would not. */
const REFUSED: Backoff = { minMs: 0, baseMs: 2_000, capMs: 120_000 }
/** 200 agents that come back at once are all in after 8 s (istiod lets in 25 a second). */
const SLOW_DOWN: Backoff = { minMs: 1_000, baseMs: 4_000, capMs: 60_000 }
const AWAY: Backoff = { minMs: 0, baseMs: 500, capMs: 30_000 }
/** It works or it does not; what else can be done about it was done when the answer came. */
const OTHER_WAY: Backoff = { minMs: 100, baseMs: 500, capMs: 300_000 }

/** An operator has to look first; ten thousand may wait for that. */
const WAITS: Backoff = { minMs: 3_000, baseMs: 4_000, capMs: 60_000 }

const BACKOFFS: Partial<Record<ErrorCode, Backoff>> = {
  MESH_CONTROL_UNAUTHENTICATED: REFUSED,
  MESH_CONTROL_FORBIDDEN: REFUSED,
  MESH_CONTROL_REFUSED: REFUSED,
  MESH_CONTROL_TLS: REFUSED,
  MESH_CONTROL_NAME: REFUSED,
  MESH_CONTROL_PLAIN: REFUSED,
  MESH_CERTIFICATE_REFUSED: REFUSED,
  MESH_CERTIFICATE_OTHER: REFUSED,
  MESH_CERTIFICATE_OLD: REFUSED,
  MESH_DEVICE_UNKNOWN: REFUSED,
  MESH_DEVICE_REVOKED: REFUSED,
  MESH_DEVICE_CLONED: REFUSED,
  MESH_DEVICE_PROOF: REFUSED,
  MESH_DEVICE_PENDING: WAITS,
  MESH_CONTROL_SLOW_DOWN: SLOW_DOWN,
  MESH_CONTROL_UNIMPLEMENTED: OTHER_WAY,
  MESH_CONTROL_COMPRESSION: OTHER_WAY,
  MESH_CONTROL_MESSAGE_SIZE: OTHER_WAY,
}

/** Full jitter within these. */
export function retryBackoff({ code }: MeshError): Backoff {
  return BACKOFFS[code] ?? AWAY
}

/** Nobody has refused anything: there was nobody, or no way there. */
export function isAway(reason: MeshError): boolean {
  return retryBackoff(reason) === AWAY
}

/**
 * How often each kind of failure was met in a row. The kinds are counted apart: whoever could not be reached for a
 * night, and then refuses, is asked again after seconds, because a person may be at work on it. Kinds that take turns
 * make the waits of both grow.
 */
export class Failures {
  readonly #met = new Map<Backoff, number>()
  /** Something went well. */
  forget(): void {
    this.#met.clear()
  }
  of(reason: MeshError): number {
    return this.#met.get(retryBackoff(reason)) ?? 0
  }
  add(reason: MeshError): void {
    this.#met.set(retryBackoff(reason), this.of(reason) + 1)
  }
}

/** @param attempt tries in a row that failed, from 0 */
export function retryWaitMs(reason: MeshError, attempt: number, random: Random): number {
  const backoff = retryBackoff(reason)
  return backoff.minMs + computeBackoffMs(attempt, backoff, random)
}

/**
 * The next stream after one that came to its normal end (an age limit, a restart): soon, and not all of a fleet at
 * once.
 */
export const AFTER_GOOD_STREAM_MS = 1_000
