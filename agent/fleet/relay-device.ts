/** From agent.yaml to a device on its hub's relay: the key that proves it, and certificates by that key. */
import { createDeviceAuthority } from '../../control-sync/fleet/device/device-authority.ts'
import type { DeviceKey } from '../../control-sync/fleet/device/device-key.ts'
import { EnrollmentStore } from '../../control-sync/fleet/device/enrollment-store.ts'
import { createRelayAsk } from '../../control-sync/fleet/device/relay-request.ts'
import type { RelayDevice, RelayLink } from '../../control-sync/fleet/relay-link.ts'
import type { ControlPlane } from '../../control-sync/connection/control-plane.ts'
import type { CertificateAuthority } from '../../control-sync/identity/ca-client.ts'
import { keepRoots, openKey, type HubDeviceOptions } from './hub-device.ts'

/**
 * A device of the hub whose relay it is on. One that has joined by a key of its own is known by it; where there is none,
 * certificate and token count.
 */
export function createRelayDevice({ config, disk }: HubDeviceOptions): RelayDevice {
  const enrollment = new EnrollmentStore({ disk, stateFolder: config.state })
  let found: DeviceKey | undefined
  return {
    position: () => enrollment.load(),
    async findKey() {
      const { hub, token } = config.control ?? {}
      // A key beside a token may be what is left of an attempt.
      if (!hub && token !== undefined && enrollment.load().counter === 0) return undefined
      return (found ??= await openKey(config, disk, 'find'))
    },
  }
}

/** Certificates over the relay by the device's key. @param byProof by certificate or token, where there is no key */
export function createAuthorityOverRelay(
  { link, device }: { readonly link: RelayLink; readonly device: RelayDevice },
  byProof: CertificateAuthority,
  p: HubDeviceOptions & { readonly control: ControlPlane },
): CertificateAuthority {
  const { control, disk, config, clock } = p
  const byKey = createDeviceAuthority({
    enrollment: new EnrollmentStore({ disk, stateFolder: config.state }),
    ask: createRelayAsk(link, control, clock),
    learnRoots: (pem) => keepRoots(pem, p),
  })
  return async (wish) => ((await device.findKey()) ? byKey(wish) : byProof(wish))
}
