/** Who waits and who has joined, for the command line and the API alike. */
import type { ChainState, Enrollment, JoinRequest } from '../registry/enrollments.ts'
import type { Registry } from '../registry/registry.ts'

/** What a renewal is proved by is nobody's business. */
export type ListedEnrollment =
  | (JoinRequest & { readonly state: 'pending' })
  | Omit<Enrollment, keyof Pick<ChainState, 'chain' | 'previousChain' | 'nonce'>>

/** Who waits comes first: that is what somebody is to do something about. */
export async function listEnrollments({ enrollments }: Registry): Promise<readonly ListedEnrollment[]> {
  const waiting = (await enrollments.requests()).map((w) => ({ ...w, state: 'pending' as const }))
  const enrolled = (await enrollments.all()).map(withoutProof)
  return [...waiting, ...enrolled]
}

function withoutProof(enrollment: Enrollment): ListedEnrollment {
  const { chain: _chain, previousChain: _previousChain, nonce: _nonce, ...rest } = enrollment
  return rest
}
