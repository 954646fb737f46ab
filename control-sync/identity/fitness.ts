/**
 * Is a certificate the right one? By what agent.yaml says of this workload, and by the certificate that it would
 * replace.
 */
import { MeshError } from '../../core/errors.ts'
import { isExpired } from '../../core/pki/validity.ts'
import type { Identity } from '../../model/identity.ts'

/** Two servers of one CA may disagree by so much on how late it is. */
const SKEW_MS = 300_000

/**
 * Why `next` must not take the place of `present`: MESH_CERTIFICATE_OTHER (another workload), MESH_CERTIFICATE_OLD (the
 * present one is valid for longer, and this one was over when it came or is older). One that is merely shorter is the
 * CA's to give.
 */
export function rejectReplacement(
  next: Identity,
  present: Identity | undefined,
  p: { readonly spiffeUri: string; readonly nowMs: number },
): MeshError | undefined {
  if (!present) return undefined
  if (findOtherWorkload(next, p.spiffeUri) && !findOtherWorkload(present, p.spiffeUri)) {
    return new MeshError(
      'MESH_CERTIFICATE_OTHER',
      `the CA answered with a certificate of ${next.spiffeId.uri}; the one at hand, of ${present.spiffeId.uri}, serves on`,
    )
  }
  const endsSooner = !isExpired(present, p.nowMs) && next.notAfterMs < present.notAfterMs
  if (!endsSooner || (!isExpired(next, p.nowMs) && next.notBeforeMs >= present.notBeforeMs - SKEW_MS)) return undefined
  return new MeshError(
    'MESH_CERTIFICATE_OLD',
    `the CA answered with a certificate from ${at(next.notBeforeMs)} until ${at(next.notAfterMs)}; the one at hand is from ${at(present.notBeforeMs)} until ${at(present.notAfterMs)}, and serves on`,
  )
}

/**
 * MESH_CERTIFICATE_OTHER when the certificate is not of the namespace and service account of agent.yaml. The trust
 * domain is the CA's to say.
 */
export function findOtherWorkload({ spiffeId: { uri } }: Identity, spiffeUri: string): MeshError | undefined {
  if (pathOf(uri) === pathOf(spiffeUri)) return undefined
  return new MeshError(
    'MESH_CERTIFICATE_OTHER',
    `the certificate is of ${uri}, and agent.yaml says ${pathOf(spiffeUri).slice(1)}`,
  )
}

/** What follows the trust domain of spiffe://TRUST_DOMAIN/… */
function pathOf(uri: string): string {
  return uri.slice(uri.indexOf('/', 9))
}
const at = (ms: number): string => new Date(ms).toISOString()
