import type { StoredMessage, StoredSession } from '../durability.ts'

/** A session as JSON: small, seldom written, and readable with the sqlite3 tool. Bytes of a waiting will are in base64. */
export function sessionText({ pendingWill, ...session }: StoredSession): string {
  const will = pendingWill && { dueAtMs: pendingWill.dueAtMs, message: { ...pendingWill.message, payload: base64(pendingWill.message.payload), properties: base64(pendingWill.message.properties) } }
  return JSON.stringify({ ...session, pendingWill: will })
}

/** @param text what sessionText made, out of our own file. Throws SyntaxError for anything else. */
export function sessionOf(text: string): StoredSession {
  const parsed = JSON.parse(text) as Omit<StoredSession, 'pendingWill'> & { pendingWill?: { dueAtMs: number; message: Omit<StoredMessage, 'payload' | 'properties'> & { payload: string; properties: string } } }
  const { pendingWill: will } = parsed
  return {
    clientId: parsed.clientId, protocolVersion: parsed.protocolVersion, expirySec: parsed.expirySec, disconnectedAtMs: parsed.disconnectedAtMs,
    subscriptions: parsed.subscriptions.map((s) => ({ ...s, subscriptionId: s.subscriptionId })),
    pendingWill: will && { dueAtMs: will.dueAtMs, message: { ...will.message, expiresAtMs: will.message.expiresAtMs, payload: Buffer.from(will.message.payload, 'base64'), properties: Buffer.from(will.message.properties, 'base64') } },
  }
}

function base64(bytes: Uint8Array): string { return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64') }
