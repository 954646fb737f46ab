/** Why a connection ends, as the peer is told. */
import type { MeshError } from '../../../core/errors.ts'
import { encode } from './encode.ts'
import type { Version } from './packet.ts'
import { NO_PROPERTIES } from './properties.ts'
import { toConnackReason, toDisconnectReason, toReturnCode } from './reason.ts'

/** CONNACK that refuses; undefined where the version has no code for it. */
export function encodeRefusal(err: MeshError, version: Version): Buffer | undefined {
  const reason = version === 5 ? toConnackReason(err) : toReturnCode(err)
  if (reason === undefined) return undefined
  return encode({ type: 'connack', sessionPresent: false, reason, properties: NO_PROPERTIES }, version)
}
/** DISCONNECT of MQTT 5. */
export function encodeFarewell(err: MeshError): Buffer {
  return encode({ type: 'disconnect', reason: toDisconnectReason(err), properties: NO_PROPERTIES }, 5)
}
