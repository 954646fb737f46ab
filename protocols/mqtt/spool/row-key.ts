/**
 * The key of a session in rows of which there may be thousands. A client id may have a thousand characters, and a
 * SUBSCRIBE or a QoS 2 message of ten bytes must not write a thousand bytes to the disk. So a long id is written out
 * only in the session's own row; other rows have its hash.
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
