/**
 * Whose a session is. A client id is only a name that anybody can say (MQTT 5.0 §5.4.2), and behind it are
 * subscriptions, a queue and a will: it belongs to whoever made it, by what the connection proved. A user name proves
 * nothing yet, so it does not count.
 */
import { parseSpiffeId, type PeerIdentity } from '../../../model/identity.ts'
import type { Client } from '../topics/authorization.ts'
import { sourceOf } from '../../../core/ip-source.ts'

/** Whose share it is. */
export function shareOf({ kind, name, listener }: Owner, address: string): string {
  switch (kind) {
    case 'spiffe':
      return `principal ${name}`
    case 'certificate':
      return `principal ${name} on ${listener}`
    case 'anonymous':
      return `address ${sourceOf(address)}`
    default:
      return kind satisfies never
  }
}

export type Owner = {
  readonly kind: 'spiffe' | 'certificate' | 'anonymous'
  /**
   * SPIFFE id; subject and names of a certificate without one, or its fingerprint when it has neither; '' for who
   * showed none.
   */
  readonly name: string
  /**
   * Where it was last connected. Part of the owner unless it has a SPIFFE id: roots of client certificates belong to a
   * listener.
   */
  readonly listener: string
}

export function ownerOf(peer: PeerIdentity | undefined, listener: string): Owner {
  if (!peer) return { kind: 'anonymous', name: '', listener }
  if (peer.spiffeId) return { kind: 'spiffe', name: peer.spiffeId.uri, listener }
  // A fleet may share a subject and differ in names. All of them outlive a renewal, which the fingerprint does not.
  const names = [peer.subject, ...peer.uriSans, ...peer.dnsSans].filter((name) => name !== '')
  return { kind: 'certificate', name: names.length > 0 ? JSON.stringify(names) : `sha256:${peer.sha256}`, listener }
}

export function isSameOwner(a: Owner, b: Owner): boolean {
  return a.kind === b.kind && a.name === b.name && (a.kind === 'spiffe' || a.listener === b.listener)
}

/** What rules ask about a client that need not be connected. */
export function clientOf(clientId: string, owner: Owner | undefined): Client {
  const spiffeId = owner?.kind === 'spiffe' ? parseSpiffeId(owner.name) : undefined
  return { clientId, spiffeUri: spiffeId?.uri, serviceAccount: spiffeId?.serviceAccount }
}

/** In a log line or an error, for people. */
export function ownerText({ kind, name, listener }: Owner): string {
  return kind === 'anonymous' ? `a client without a certificate on listener ${listener}` : name
}
