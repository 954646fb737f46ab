/** Who waits and who has joined, for the command line and the API alike. */
import type { ChainState, Enrollment, JoinRequest, PageOf } from '../registry/enrollments.ts'
import type { Registry } from '../registry/registry.ts'

/** What a renewal is proved by is nobody's business. */
export type ListedEnrollment =
  | (JoinRequest & { readonly state: 'pending' })
  | Omit<Enrollment, keyof Pick<ChainState, 'chain' | 'previousChain' | 'nonce'>>

export type ListedPage = { readonly total: number; readonly devices: readonly ListedEnrollment[] }

/** Who waits comes first: that is what somebody is to do something about. */
export async function listEnrollments({ enrollments }: Registry, of = EVERYTHING): Promise<ListedPage> {
  const { total, waiting, enrolled } = await enrollments.page(of)
  const pending = waiting.map((one) => ({ ...one, state: 'pending' as const }))
  return { total, devices: [...pending, ...enrolled.map(withoutProof)] }
}
const EVERYTHING: PageOf = { namespaces: undefined, offset: 0, limit: Number.MAX_SAFE_INTEGER }

function withoutProof(enrollment: Enrollment): ListedEnrollment {
  const { chain: _chain, previousChain: _previousChain, nonce: _nonce, ...rest } = enrollment
  return rest
}
