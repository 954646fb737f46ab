import type { Clock } from '../../core/os/clock.ts'
import type { JwtTime } from '../../core/jwt/verify.ts'
import type { AgentIdentity } from '../identity.ts'

/** By which clock tokens are judged: as for certificates, a device without a battery may only know how late it is at least. */
export function createTokenTime({ validity }: Pick<AgentIdentity, 'validity'>, clock: Clock): () => JwtTime {
  return () => {
    const known = validity.peerVerification()
    return known ? { nowMs: known.nowMs, isLowerBound: known.clock === 'lower-bound' } : { nowMs: clock.wallMs() }
  }
}
