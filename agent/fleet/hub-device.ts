/** From agent.yaml to the hub whose device this is: its address, roots and proxy, and the key that proves the device. */
import { createTokenAuthority } from '../../control-sync/fleet/device/token-authority.ts'
import { createDeviceAuthority } from '../../control-sync/fleet/device/device-authority.ts'
import { openDeviceKey, type DeviceKey } from '../../control-sync/fleet/device/device-key.ts'
import { EnrollmentStore } from '../../control-sync/fleet/device/enrollment-store.ts'
import { askHub, type HubClientOptions } from '../../control-sync/fleet/hub-client.ts'
import type { ControlPlane } from '../../control-sync/connection/control-plane.ts'
import type { CertificateClock } from '../../control-sync/connection/verify-server.ts'
import type { CertificateAuthority } from '../../control-sync/identity/ca-client.ts'
import path from 'node:path'
import { MeshError } from '../../core/errors.ts'
import { parseCertificates } from '../../core/pki/x509.ts'
import type { Clock } from '../../core/os/clock.ts'
import { runSystemCommand } from '../../core/os/command.ts'
import type { Disk } from '../../core/os/disk.ts'
import type { AgentConfig } from '../config/schema.ts'
import { readSealer } from '../control-sync-settings.ts'

export type HubSettings = NonNullable<NonNullable<AgentConfig['control']>['hub']>
export type HubDeviceOptions = {
  readonly config: AgentConfig
  readonly disk: Disk
  readonly clock: Clock
  readonly certificateClock: CertificateClock
  readonly findProxy: ControlPlane['findProxy']
}

/** @param control the control plane, which certifies where the hub does not */
export function createHubAuthority(hub: HubSettings, control: ControlPlane, o: HubDeviceOptions): CertificateAuthority {
  const { disk, config, clock } = o
  const device = {
    enrollment: new EnrollmentStore({ disk, stateFolder: config.state }),
    ask: async (path: string, claims: object) => {
      const at = await findHub(hub, o)
      return { body: (await askHub(at, path, claims)).body, host: at.url.host }
    },
    learnRoots: (pem: string) => keepRoots(pem, o),
  }
  return hub.certificates === 'hub'
    ? createDeviceAuthority(device)
    : createTokenAuthority({ ...device, control, clock })
}

/** Rejects with MESH_CONFIG_INVALID (roots), MESH_STATE_UNUSABLE (key), MESH_NO_IDENTITY (no key). */
export async function findHub({ url, roots }: HubSettings, o: HubDeviceOptions): Promise<HubClientOptions> {
  const { disk, clock, certificateClock, findProxy, config } = o
  const rootsPem = disk.read(roots)?.toString('utf8')
  if (rootsPem === undefined) throw new MeshError('MESH_CONFIG_INVALID', `control.hub.roots: there is no file ${roots}`)
  const key = await openKey(config, disk, 'find')
  if (!key) throw new MeshError('MESH_NO_IDENTITY', 'the state folder has no key of this device')
  return { url: new URL(url), trust: { rootsPem }, key, clock, certificateClock, findProxy }
}

export function openKey(
  config: Pick<AgentConfig, 'state' | 'identity'>,
  disk: Disk,
  make: 'make' | 'find',
): Promise<DeviceKey | undefined> {
  const { command } = config.identity.deviceKey
  const sealer = readSealer(config, disk)
  return openDeviceKey({ disk, stateFolder: config.state, command, run: runSystemCommand, sealer }, make)
}

/** Files of roots that `join` has made follow the hub; those of an operator are his. */
export function keepRoots(pem: string, { config, disk }: HubDeviceOptions): void {
  if (!isReadable(pem)) return
  const made = path.join(config.state, 'identity') + path.sep
  const { hub, roots } = config.control!
  const files = [...(hub ? [hub.roots] : []), ...(hub?.certificates === 'control-plane' ? [] : [roots])]
  for (const file of files) {
    if (!path.resolve(file).startsWith(made)) continue
    try {
      if (disk.read(file)?.toString('utf8') !== pem) disk.replace(file, pem, 0o644)
    } catch {
      // A disk that takes nothing is told elsewhere. The next renewal says it again.
    }
  }
}

function isReadable(pem: string): boolean {
  try {
    return parseCertificates(pem).length > 0
  } catch {
    return false
  }
}
