import { MeshError } from '../../core/errors.ts'
import { checkValidity, isExpired } from '../../core/pki/validity.ts'
import type { Identity } from '../../model/identity.ts'
import type { TimeFloor } from './time-floor.ts'

export type ValidityQuestion = {
  readonly wallMs: number
  /** No clock that shows less can be right (date of the build); undefined in development. */
  readonly earliestWallMs: number | undefined
  readonly floor?: TimeFloor | undefined
  /** Why the last try to get a new certificate failed. */
  readonly renewal?: MeshError | undefined
}

/**
 * What is wrong with the clock and, by the later of clock and floor, with the certificate: MESH_CLOCK_WRONG,
 * MESH_IDENTITY_EXPIRED.
 */
export function findValidityProblems(identity: Identity | undefined, q: ValidityQuestion): MeshError[] {
  const { floor, renewal } = q
  const nowMs = floor?.nowMs() ?? q.wallMs
  const clock = clockProblem(identity, q)
  if (!identity || !isExpired(identity, nowMs)) return clock ? [clock] : []
  const expired = new MeshError(
    'MESH_IDENTITY_EXPIRED',
    `the certificate expired at ${day(identity.notAfterMs)}${renewal ? ` and no new one came: ${renewal.message}${way(renewal)}` : ''}`,
  )
  return clock ? [expired, clock] : [expired]
}

function clockProblem(
  identity: Identity | undefined,
  { wallMs, earliestWallMs, floor, renewal }: ValidityQuestion,
): MeshError | undefined {
  const shows = `the clock shows ${day(wallMs)}`
  if (earliestWallMs !== undefined && wallMs < earliestWallMs)
    return new MeshError('MESH_CLOCK_WRONG', shows, { cause: renewal })
  if (identity && checkValidity(identity, wallMs).state === 'not-yet')
    return new MeshError(
      'MESH_CLOCK_WRONG',
      `${shows}, a time before the certificate's first day, ${day(identity.notBeforeMs)}`,
    )
  return floor?.clockIsWrong === true
    ? new MeshError(
        'MESH_CLOCK_WRONG',
        `${shows}; signatures that were seen say that it is ${day(floor.floorMs)} or later`,
      )
    : undefined
}

/** Nothing that this device has is accepted any more: the one thing that a person can do. */
function way({ code }: MeshError): string {
  return code === 'MESH_NO_IDENTITY' || code === 'MESH_CONTROL_UNAUTHENTICATED' || code === 'MESH_TOKEN_INVALID'
    ? '. Nothing at hand is accepted: put a new join token into the file of control.token, or run `meshlet join --token FILE`; the rest goes by itself'
    : ''
}

const day = (ms: number): string => new Date(ms).toISOString()
