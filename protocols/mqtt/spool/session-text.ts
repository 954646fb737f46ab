import type { SessionHead, StoredMessage, StoredSubscription } from '../durability.ts'

/**
 * A session without its subscriptions as JSON: small, seldom written, and readable with the sqlite3 tool. Bytes of a
 * waiting will are in base64.
 */
export function encodeSession({ pendingWill, ...session }: SessionHead): string {
  const will = pendingWill && {
    dueAtMs: pendingWill.dueAtMs,
    message: {
      ...pendingWill.message,
      payload: base64(pendingWill.message.payload),
      properties: base64(pendingWill.message.properties),
    },
  }
  return JSON.stringify({ ...session, pendingWill: will })
}

/** @param text what encodeSession made, out of our own file. Throws SyntaxError for anything else. */
export function decodeSession(text: string): SessionHead {
  const parsed = JSON.parse(text) as Omit<SessionHead, 'pendingWill' | 'address'> & {
    address?: string
    pendingWill?: {
      dueAtMs: number
      message: Omit<StoredMessage, 'payload' | 'properties'> & { payload: string; properties: string }
    }
  }
  const { pendingWill: will } = parsed
  return {
    clientId: parsed.clientId,
    protocolVersion: parsed.protocolVersion,
    owner: parsed.owner,
    address: parsed.address ?? '',
    expirySec: parsed.expirySec,
    disconnectedAtMs: parsed.disconnectedAtMs,
    pendingWill: will && {
      dueAtMs: will.dueAtMs,
      message: {
        ...will.message,
        expiresAtMs: will.message.expiresAtMs,
        payload: Buffer.from(will.message.payload, 'base64'),
        properties: Buffer.from(will.message.properties, 'base64'),
      },
    },
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

/** The Subscription Options of MQTT 5.0 §3.8.3.1 in their byte. */
export function encodeSubscriptionOptions({
  qos,
  noLocal,
  retainAsPublished,
  retainHandling,
}: StoredSubscription): number {
  return qos | (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0) | (retainHandling << 4)
}

/** Undefined when there are no such options. */
export function decodeSubscription(
  filter: string,
  options: number,
  subscriptionId: number | undefined,
): StoredSubscription | undefined {
  const [qos, retainHandling] = [options & 3, options >> 4]
  if (!isBelow3(qos) || !isBelow3(retainHandling)) return undefined
  return {
    filter,
    qos,
    noLocal: (options & 4) !== 0,
    retainAsPublished: (options & 8) !== 0,
    retainHandling,
    subscriptionId,
  }
}
function isBelow3(n: number): n is 0 | 1 | 2 {
  return n >= 0 && n < 3
}
