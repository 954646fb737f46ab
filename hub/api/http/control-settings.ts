/** Where devices that join get their configuration. */
import { X509Certificate } from 'node:crypto'
import { MeshError } from '../../../core/errors.ts'
import type { Disk } from '../../../core/os/disk.ts'
import { OWN_RELAY, type ControlSettings } from '../../../model/fleet/enrollment.ts'
import type { Ca } from '../../ca/ca.ts'
import type { HubConfig } from '../../config.ts'
import type { DeviceRoutes } from './routes/devices.ts'

export type ControlSettingsOptions = {
  readonly config: Pick<HubConfig, 'istiod'>
  readonly ca: Pick<Ca, 'rootsPem'>
  readonly disk: Disk
  readonly configurationAt: () => string
}

/** Throws MESH_CONFIG_INVALID for roots that cannot be read. */
export function readControlSettings({
  config,
  ca,
  disk,
  configurationAt,
}: ControlSettingsOptions): DeviceRoutes['control'] {
  const { istiod } = config
  if (!istiod) return (over) => ({ address: over === 'relay' ? OWN_RELAY : configurationAt(), rootsPem: ca.rootsPem })
  const { address, serverName, roots } = istiod
  const read = (): ControlSettings => ({
    address,
    rootsPem: readRoots(roots, disk),
    serverName,
    certificates: 'control-plane',
  })
  read()
  return read
}

function readRoots(file: string, disk: Disk): string {
  try {
    const pem = disk.read(file)?.toString('utf8') ?? ''
    new X509Certificate(pem)
    return pem
  } catch (cause) {
    throw new MeshError('MESH_CONFIG_INVALID', `istiod.roots: ${file} is no readable PEM file with certificates`, {
      cause,
    })
  }
}
