/** Rows of the registry. Times are milliseconds since the epoch. */
import type { Labels } from './enrollments.ts'

export type TokenRow = {
  readonly jti: string
  readonly namespace: string
  readonly serviceAccount: string
  readonly createdMs: number
  readonly expiresMs: number
  readonly revokedMs: number | null
  /** Keys that may be certified with it; null: any number. */
  readonly maxUses: number | null
  /** Keys that were. */
  readonly uses: number
  /**
   * Node names that it is good for (node-names.ts); null: made by an older hub, good for names that its devices have
   * already.
   */
  readonly nodes: string | null
  /** SHA-256 of the token, lower-case hex; null: made by an older hub. */
  readonly hash: string | null
  /** Ranges that its bearer must come from; none: anywhere. */
  readonly cidrs: readonly string[]
  /** What its devices are labelled with. */
  readonly labels: Labels
  /** Who joins with it waits for an operator's word. */
  readonly approval: boolean
}
/** What it is good for now. */
export function describeTokenState(
  t: Pick<TokenRow, 'revokedMs' | 'expiresMs' | 'maxUses' | 'uses'>,
  nowMs: number,
): 'revoked' | 'ended' | 'used up' | 'valid' {
  if (t.revokedMs !== null) return 'revoked'
  if (nowMs >= t.expiresMs) return 'ended'
  return t.maxUses !== null && t.uses >= t.maxUses ? 'used up' : 'valid'
}
export type CertificateRow = {
  readonly serial: string
  readonly spiffeUri: string
  /** Of the token that the first certificate was given for; renewals inherit it. Null when not known. */
  readonly jti: string | null
  /**
   * Keys that follow one another by renewal belong to one device: the id of the first of them. Null: certified by an
   * older hub.
   */
  readonly device: string | null
  readonly ip: string
  readonly issuedMs: number
  readonly notAfterMs: number
}
export type HeldCertificate = Pick<CertificateRow, 'serial' | 'issuedMs' | 'notAfterMs' | 'ip'> & {
  readonly revoked: boolean
}
export type DeviceRow = {
  /** Name of the node: the folder of its resources. */
  readonly name: string
  readonly nodeId: string
  readonly spiffeUri: string
  readonly joinedMs: number
  readonly lastSeenMs: number
  readonly lastIp: string
  /** Since when it has a stream; null: it has none. */
  readonly connectedMs: number | null
  /** Version of the node's resources that it took as a whole last, and when. */
  readonly inForce: string | null
  readonly inForceMs: number | null
  /** What it says of the resources that it refused last; null: it took all. */
  readonly refused: string | null
  /** Of the newest certificate of the device. */
  readonly serial: string | null
  readonly notAfterMs: number | null
}
export type NameClaim = {
  readonly name: string
  readonly nodeId: string
  readonly spiffeUri: string
  readonly ip: string
  /** The claimant: a device, or the bearer of a token without a certificate. */
  readonly holder: string
  /** Of the token that the claim rests on; undefined when it is not known any more. */
  readonly jti: string | undefined
  readonly nowMs: number
}
export type DeviceChange = {
  readonly name: string
  readonly connectedMs: number | null
  readonly lastSeenMs: number
  readonly inForce: string | undefined
  readonly inForceMs: number | undefined
  readonly refused: string | undefined
}
