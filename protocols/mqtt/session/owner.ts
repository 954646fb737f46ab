/**
 * Whose a session is. A client id is only a name that anybody can say (MQTT 5.0 §5.4.2), and behind it are
 * subscriptions, a queue and a will: it belongs to whoever made it, by what the connection proved. A user name that was
 * only said proves nothing and does not count.
 */
import { parseSpiffeId, type PeerIdentity } from '../../../model/identity.ts'
import type { Client } from '../authorization/authorizer.ts'
import { deriveSource } from '../../../core/ip-source.ts'

/** A user name that was proved: by password, token, key or certificate. */
export type ProvedUser = {
  readonly name: string
  /** What the proof says that the user belongs to: a claim of a token. */
  readonly groups: readonly string[]
}

export type Owner = {
  readonly kind: 'user' | 'spiffe' | 'certificate' | 'anonymous'
  /**
   * The proved user; SPIFFE id; subject and names of a certificate without one, or its fingerprint when it has neither;
   * '' for who showed none.
   */
  readonly name: string
  /**
   * Where it was last connected. Part of the owner of kind `certificate` and `anonymous`: roots of client certificates
   * belong to a listener. A SPIFFE id is the same everywhere, and so is a user: `mqtt.users` is one set of users, in
   * which a name is one person or device, whichever listener and method it came by.
   */
  readonly listener: string
  /** Of a user. */
  readonly groups?: readonly string[]
  /** The certificate that a user showed beside. */
  readonly certificate?: Pick<Owner, 'kind' | 'name'>
}

/** Whose share it is. */
export function nameShare({ kind, name, listener }: Owner, address: string): string {
  switch (kind) {
    case 'user':
      return `user ${name}`
    case 'spiffe':
      return `principal ${name}`
    case 'certificate':
      return `principal ${name} on ${listener}`
    case 'anonymous':
      return `address ${deriveSource(address)}`
    default:
      return kind satisfies never
  }
}

export function deriveOwner(
  { peer, user }: { readonly peer: PeerIdentity | undefined; readonly user: ProvedUser | undefined },
  listener: string,
): Owner {
  const certificate = peer && certificateOf(peer)
  if (user)
    return {
      kind: 'user',
      name: user.name,
      listener,
      ...(user.groups.length > 0 && { groups: user.groups }),
      ...(certificate && { certificate }),
    }
  return { ...(certificate ?? { kind: 'anonymous', name: '' }), listener }
}

function certificateOf(peer: PeerIdentity): Pick<Owner, 'kind' | 'name'> {
  if (peer.spiffeId) return { kind: 'spiffe', name: peer.spiffeId.uri }
  // A fleet may share a subject and differ in names. All of them outlive a renewal, which the fingerprint does not.
  const names = [peer.subject, ...peer.uriSans, ...peer.dnsSans].filter((name) => name !== '')
  return { kind: 'certificate', name: names.length > 0 ? JSON.stringify(names) : `sha256:${peer.sha256}` }
}

/**
 * Whether `who` may have what is `its`. A user may have what the certificate that it shows has made: so sessions go on
 * when a listener begins to ask for users. Not the other way round, for several users may share a gateway's
 * certificate.
 */
export function ownsWhatIs(its: Owner, who: Owner): boolean {
  return (
    isSame(its, who) || (who.certificate !== undefined && isSame(its, { ...who.certificate, listener: who.listener }))
  )
}

function isSame(a: Owner, b: Owner): boolean {
  return a.kind === b.kind && a.name === b.name && (isSameEverywhere(a) || a.listener === b.listener)
}

/** Whatever listener it came by. */
export function isSameEverywhere({ kind }: Owner): boolean {
  return kind === 'user' || kind === 'spiffe'
}

/** What rules ask about a client that need not be connected. */
export function describeClient(clientId: string, owner: Owner | undefined): Client {
  const shown = owner?.certificate ?? owner
  const spiffeId = shown?.kind === 'spiffe' ? parseSpiffeId(shown.name) : undefined
  return {
    clientId,
    user: owner?.kind === 'user' ? owner.name : undefined,
    groups: owner?.groups ?? [],
    spiffeUri: spiffeId?.uri,
    trustDomain: spiffeId?.trustDomain,
    namespace: spiffeId?.namespace,
    serviceAccount: spiffeId?.serviceAccount,
  }
}

/** In a log line or an error, for people. */
export function formatOwner({ kind, name, listener }: Owner): string {
  switch (kind) {
    case 'user':
      return `user ${name}`
    case 'anonymous':
      return `a client without a certificate on listener ${listener}`
    case 'spiffe':
    case 'certificate':
      return name
    default:
      return kind satisfies never
  }
}
