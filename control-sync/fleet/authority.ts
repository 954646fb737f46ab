/** The CA that `control.address` names, however it is reached. */
import type { Clock } from '../../core/os/clock.ts'
import type { Identity } from '../../model/identity.ts'
import type { ControlPlane } from '../connection/control-plane.ts'
import { createIstioCertificateAuthority, type CertificateAuthority } from '../identity/ca-client.ts'
import { isHubAddress } from './hub-address.ts'
import { createRelayAuthority } from './relay-authority.ts'
import { refuseStream, RelayLink } from './relay-link.ts'

/** @param current the identity at hand, which a renewal is asked for with */
export function createAuthority(
  control: ControlPlane,
  clock: Clock,
  current: () => Identity | undefined,
): CertificateAuthority {
  if (!control.addresses.every(isHubAddress)) return createIstioCertificateAuthority(control, clock)
  const link = new RelayLink({ control, identity: current, clock, onStream: refuseStream })
  return createRelayAuthority(link, control, clock)
}
