import { MeshError } from '../../agent/core/errors.ts'
import type { Identity } from '../../agent/model/identity.ts'

/**
 * What is wrong with the clock or, by the clock, with the certificate: MESH_CLOCK_WRONG or MESH_IDENTITY_EXPIRED.
 * @param p.earliestWallMs no clock that shows less can be right (date of the build); undefined in development
 * @param p.renewal why the last try to get a new certificate failed
 */
export function validityProblem(identity: Identity | undefined, p: { readonly wallMs: number; readonly earliestWallMs: number | undefined; readonly renewal?: MeshError | undefined }): MeshError | undefined {
  const { wallMs, earliestWallMs, renewal } = p
  const day = (ms: number): string => new Date(ms).toISOString()
  if (earliestWallMs !== undefined && wallMs < earliestWallMs) return new MeshError('MESH_CLOCK_WRONG', `the clock shows ${day(wallMs)}`, { cause: renewal })
  if (identity && wallMs < identity.notBeforeMs) return new MeshError('MESH_CLOCK_WRONG', `the clock shows ${day(wallMs)}, a time before the certificate's first day, ${day(identity.notBeforeMs)}`)
  if (identity && wallMs >= identity.notAfterMs) return new MeshError('MESH_IDENTITY_EXPIRED', `the certificate expired at ${day(identity.notAfterMs)}${renewal ? ` and no new one came: ${renewal.message}` : ''}`)
  return undefined
}
