/**
 * MQTT 5 reason codes (MQTT 5.0 §2.4) and 3.1.1 CONNACK return codes (MQTT 3.1.1 §3.2.2.3), keyed by the catalogue's
 * codes. A protocol violation carries its exact reason as the error's cause; callers never look at messages.
 */
import { MeshError, type ErrorCode } from '../../../core/errors.ts'

export const REASON = {
  success: 0x00,
  disconnectWithWill: 0x04,
  noMatchingSubscribers: 0x10,
  noSubscriptionExisted: 0x11,
  continueAuthentication: 0x18,
  reAuthenticate: 0x19,
  unspecified: 0x80,
  malformedPacket: 0x81,
  protocolError: 0x82,
  implementationError: 0x83,
  unsupportedVersion: 0x84,
  clientIdNotValid: 0x85,
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  serverBusy: 0x89,
  serverShuttingDown: 0x8b,
  badAuthenticationMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  sessionTakenOver: 0x8e,
  topicFilterInvalid: 0x8f,
  topicNameInvalid: 0x90,
  packetIdInUse: 0x91,
  packetIdNotFound: 0x92,
  receiveMaximumExceeded: 0x93,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  messageRateTooHigh: 0x96,
  quotaExceeded: 0x97,
  administrativeAction: 0x98,
  retainNotSupported: 0x9a,
  qosNotSupported: 0x9b,
  useAnotherServer: 0x9c,
  serverMoved: 0x9d,
  subscriptionIdsNotSupported: 0xa1,
} as const

/** 3.1.1: 0 accepted, 1 version, 2 identifier, 3 unavailable, 4 bad user name or password, 5 not authorized. */
type Codes = { readonly reason: number; readonly returnCode: 1 | 2 | 3 | 4 | 5 }
const UNSPECIFIED: Codes = { reason: REASON.unspecified, returnCode: 3 }

const BY_CODE: Partial<Record<ErrorCode, Codes>> = {
  MESH_LISTENER_FULL: { reason: REASON.serverBusy, returnCode: 3 },
  MESH_PEER_NOT_ALLOWED: { reason: REASON.notAuthorized, returnCode: 5 },
  // Its own certificate, which a client can do something about; ours, which it cannot.
  MESH_PEER_EXPIRED: { reason: REASON.notAuthorized, returnCode: 5 },
  MESH_IDENTITY_EXPIRED: { reason: REASON.administrativeAction, returnCode: 3 },
  MESH_DRAINING: { reason: REASON.serverShuttingDown, returnCode: 3 },
  MESH_REQUEST_TIMEOUT: { reason: REASON.keepAliveTimeout, returnCode: 3 },
  MESH_STORAGE_FULL: { reason: REASON.quotaExceeded, returnCode: 3 },
  MESH_STORAGE_FAILED: { reason: REASON.serverUnavailable, returnCode: 3 },
  MESH_STORAGE_DAMAGED: { reason: REASON.serverUnavailable, returnCode: 3 },
  MESH_MQTT_PROTOCOL: { reason: REASON.protocolError, returnCode: 2 },
  MESH_MQTT_NOT_AUTHORIZED: { reason: REASON.notAuthorized, returnCode: 5 },
  MESH_MQTT_BAD_CREDENTIALS: { reason: REASON.badUserNameOrPassword, returnCode: 4 },
  MESH_MQTT_USER_NEEDED: { reason: REASON.notAuthorized, returnCode: 5 },
  MESH_MQTT_USER_ENDED: { reason: REASON.notAuthorized, returnCode: 5 },
  // Ours, so that a client comes again and does not throw its password away.
  MESH_MQTT_USERS_FILE: { reason: REASON.serverUnavailable, returnCode: 3 },
  MESH_JWKS_UNAVAILABLE: { reason: REASON.serverUnavailable, returnCode: 3 },
  // The broker behind a listener of mode transparent.
  MESH_NO_CLUSTER: { reason: REASON.serverUnavailable, returnCode: 3 },
  MESH_NO_ENDPOINT: { reason: REASON.serverUnavailable, returnCode: 3 },
  MESH_UPSTREAM_OVERFLOW: { reason: REASON.serverBusy, returnCode: 3 },
  MESH_CONNECT_FAILED: { reason: REASON.serverUnavailable, returnCode: 3 },
  MESH_CONNECT_TIMEOUT: { reason: REASON.serverUnavailable, returnCode: 3 },
  MESH_DNS_FAILED: { reason: REASON.serverUnavailable, returnCode: 3 },
  MESH_PEER_MISMATCH: { reason: REASON.serverUnavailable, returnCode: 3 },
  MESH_UPSTREAM_TLS: { reason: REASON.serverUnavailable, returnCode: 3 },
  MESH_NO_IDENTITY: { reason: REASON.serverUnavailable, returnCode: 3 },
  MESH_UPSTREAM_RESET: { reason: REASON.serverUnavailable, returnCode: 3 },
  MESH_UPSTREAM_PROTOCOL: { reason: REASON.serverUnavailable, returnCode: 3 },
  MESH_UPSTREAM_TIMEOUT: { reason: REASON.serverUnavailable, returnCode: 3 },
  MESH_MQTT_NOT_OWNER: { reason: REASON.notAuthorized, returnCode: 5 },
  // Not for ever, and nothing that the client can do anything about.
  MESH_MQTT_ACL_FILE: { reason: REASON.serverUnavailable, returnCode: 3 },
  MESH_MQTT_QUOTA: { reason: REASON.quotaExceeded, returnCode: 3 },
  MESH_MQTT_RATE: { reason: REASON.messageRateTooHigh, returnCode: 3 },
  MESH_MQTT_KEEP_ALIVE: { reason: REASON.keepAliveTimeout, returnCode: 3 },
  MESH_MQTT_TAKEN_OVER: { reason: REASON.sessionTakenOver, returnCode: 3 },
  MESH_MQTT_KICKED: { reason: REASON.administrativeAction, returnCode: 3 },
  MESH_MQTT_PACKET_TOO_LARGE: { reason: REASON.packetTooLarge, returnCode: 3 },
}

/**
 * MESH_MQTT_PROTOCOL with the reason that the standard asks for in this very case. The message starts with the
 * statement's number where there is one.
 */
export function createViolation(reason: number, message: string): MeshError {
  return new MeshError('MESH_MQTT_PROTOCOL', message, { cause: { reason } })
}

/**
 * The MQTT 5 reason code for CONNACK, DISCONNECT and acknowledgements; 0x80 (Unspecified error) hides internal causes.
 */
export function toReason(err: MeshError): number {
  const exact =
    err.code === 'MESH_MQTT_PROTOCOL' ? (err.cause as { readonly reason?: number } | undefined)?.reason : undefined
  return exact ?? (BY_CODE[err.code] ?? UNSPECIFIED).reason
}

/** Those that a CONNACK may have (§3.2.2.2). */
const IN_CONNACK = new Set([
  0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b, 0x9c,
  0x9d, 0x9f,
])
/** For who was not let in yet. */
const INSTEAD: Readonly<Record<number, number>> = {
  [REASON.keepAliveTimeout]: REASON.serverBusy,
  [REASON.serverShuttingDown]: REASON.serverUnavailable,
  [REASON.administrativeAction]: REASON.serverUnavailable,
}
export function toConnackReason(err: MeshError): number {
  const reason = toReason(err)
  return IN_CONNACK.has(reason) ? reason : (INSTEAD[reason] ?? REASON.unspecified)
}

/** Those that a DISCONNECT of either side may have (§3.14.2.1). */
export const IN_DISCONNECT: ReadonlySet<number> = new Set([
  0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98,
  0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
])
/** Reason codes that only CONNACK may have, and what a connected client gets instead. */
const INSTEAD_LATER: Readonly<Record<number, number>> = {
  [REASON.badUserNameOrPassword]: REASON.notAuthorized,
  [REASON.badAuthenticationMethod]: REASON.notAuthorized,
  [REASON.serverUnavailable]: REASON.serverBusy,
}
export function toDisconnectReason(err: MeshError): number {
  const reason = toReason(err)
  return IN_DISCONNECT.has(reason) ? reason : (INSTEAD_LATER[reason] ?? REASON.unspecified)
}

/** The MQTT 3.1.1 CONNACK return code; undefined: none fits, and the connection ends without one [MQTT-3.2.2-6]. */
export function toReturnCode(err: MeshError): number | undefined {
  const reason = toReason(err)
  if (reason === REASON.unsupportedVersion) return 1
  if (err.code === 'MESH_MQTT_PROTOCOL') return reason === REASON.clientIdNotValid ? 2 : undefined
  return (BY_CODE[err.code] ?? UNSPECIFIED).returnCode
}
