/**
 * Under what name rows of a session stand that there may be thousands of. A client id may have a thousand characters,
 * and a SUBSCRIBE of ten bytes or a QoS 2 message of ten must not cost a thousand on the disk: a long one stands for
 * itself in the session's row alone, and by its hash elsewhere.
 */
import { createHash } from 'node:crypto'

const MAX_CHARS = 48
/**
 * No client id begins so [MQTT-1.5.4-2]. Bridges' names begin with U+0000, too, and go on differently (bridge/plan.ts).
 */
const HASHED = '\0#'

export function toRowKey(clientId: string): string {
  if (clientId.length <= MAX_CHARS || clientId.startsWith('\0')) return clientId
  return HASHED + createHash('sha256').update(clientId).digest('base64url').slice(0, 27)
}
