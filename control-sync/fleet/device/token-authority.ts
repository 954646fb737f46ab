/**
 * Certificates of the control plane's own CA (an istiod's), by tokens that the hub gives for the device's key: so a
 * device that is revoked there gets none any more, and a copy of it is found.
 */
import { MeshError } from '../../../core/errors.ts'
import { isExpired } from '../../../core/pki/validity.ts'
import type { Clock } from '../../../core/os/clock.ts'
import { RENEW_PATH, type ControlToken } from '../../../model/fleet/enrollment.ts'
import type { ControlPlane } from '../../connection/control-plane.ts'
import { createIstioCertificateAuthority, type CertificateAuthority } from '../../identity/ca-client.ts'
import { readRenewed, type DeviceAuthorityOptions } from './device-authority.ts'

/** A token is not shown when it is about to end: the way to the CA takes time. */
const SPARE_MS = 15_000
const MAX_TOKEN_CHARS = 16 * 1024

export type TokenAuthorityOptions = DeviceAuthorityOptions & {
  /** Its own token does not count. */
  readonly control: ControlPlane
  readonly clock: Clock
}

export function createTokenAuthority(o: TokenAuthorityOptions): CertificateAuthority {
  const tokens = new HubTokens(o)
  let shown: string | undefined
  const control: ControlPlane = {
    ...o.control,
    // A reload may change where it is.
    get addresses() {
      return o.control.addresses
    },
    get serverName() {
      return o.control.serverName
    },
    token: () => shown,
  }
  const authority = createIstioCertificateAuthority(control, o.clock)
  return async (wish) => {
    try {
      shown = await tokens.get()
      return await authority({ ...wish, current: undefined })
    } catch (thrown) {
      if (!isHubAway(thrown)) throw thrown
      const { current } = wish
      const nowMs = o.control.certificateClock?.nowMs() ?? o.clock.wallMs()
      // The certificate at hand is a proof as well, and the hub may be away for longer than it lasts.
      if (shown !== undefined || !current || isExpired(current, nowMs) || wish.certificateRefused) throw thrown
      return await authority(wish)
    } finally {
      shown = undefined
    }
  }
}

/** Not for what the hub says of the device: revoked there is revoked. */
function isHubAway(thrown: unknown): boolean {
  return (
    thrown instanceof MeshError &&
    (thrown.code === 'MESH_CONTROL_UNREACHABLE' || thrown.code === 'MESH_CONTROL_TIMEOUT')
  )
}

/** One token for several tries within its life: each that is given is a step in the chain of renewals. */
class HubTokens {
  readonly #o: TokenAuthorityOptions
  #last: { readonly token: string; readonly endsMs: number } | undefined

  constructor(o: TokenAuthorityOptions) {
    this.#o = o
  }

  /** Rejects as `askHub`. */
  async get(): Promise<string> {
    const { enrollment, ask, learnRoots, clock } = this.#o
    const askedMs = clock.monotonicMs()
    if (this.#last && askedMs < this.#last.endsMs) return this.#last.token
    const { counter, chain, nonce } = enrollment.begin()
    const { body, host } = await ask(RENEW_PATH, { counter, chain, nonce, controlToken: true })
    const renewed = readRenewed(body, host)
    const { token, ttlSec } = readControlToken(body, host)
    enrollment.answered(renewed)
    if (renewed.hubRootsPem !== undefined) learnRoots(renewed.hubRootsPem)
    this.#last = { token, endsMs: askedMs + ttlSec * 1_000 - SPARE_MS }
    return token
  }
}

/** Throws MESH_CONTROL_PROTOCOL. */
function readControlToken(body: unknown, host: string): ControlToken {
  const { token, ttlSec } = Object((Object(body) as Record<string, unknown>)['control']) as Record<string, unknown>
  if (typeof token === 'string' && /^[\w.-]+$/.test(token) && token.length <= MAX_TOKEN_CHARS)
    if (Number.isSafeInteger(ttlSec)) return { token, ttlSec: ttlSec as number }
  throw new MeshError('MESH_CONTROL_PROTOCOL', `${host} answers without a token for the control plane`)
}
