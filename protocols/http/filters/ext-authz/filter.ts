/** Which requests an authorization service is asked about. */
import type { Random } from '../../../../core/os/clock.ts'
import type { ExtAuthz } from '../../../../model/http/ext-authz.ts'
import { matchesMetadata } from '../../../../model/http/metadata.ts'
import type { RequestFacts } from '../../../router.ts'

export function isAsked({ enabledBy, enabledFraction }: ExtAuthz, request: RequestFacts, random: Random): boolean {
  if (enabledBy && !matchesMetadata(enabledBy, request.metadata)) return false
  return enabledFraction >= 1 || random.float() < enabledFraction
}
