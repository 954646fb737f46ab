import { MeshError } from '../../core/errors.ts'
import { describeHolder, type Caller } from './authenticate.ts'
import type { Door, DoorLimits } from './door.ts'

export type CallerLimits = Pick<DoorLimits, 'maxConnectionsPerDevice'> & { readonly maxConnectionsPerToken: number }

/**
 * The connection is no stranger's any more. Many devices may present one token: all of them together have a limit.
 * @param peer address and port
 * Throws MESH_CONTROL_SLOW_DOWN: the device, or the token, has as many as it may.
 */
export function admitCaller(
  proved: Door['proved'],
  { maxConnectionsPerDevice, maxConnectionsPerToken }: CallerLimits,
  peer: string,
  caller: Caller,
): void {
  const isToken = caller.by === 'token'
  const max = isToken ? maxConnectionsPerToken : maxConnectionsPerDevice
  if (proved(peer, describeHolder(caller), max)) return
  throw new MeshError(
    'MESH_CONTROL_SLOW_DOWN',
    isToken
      ? `bearers of the join token have ${max} connections already (limits.maxConnectionsPerToken)`
      : `the device has ${max} connections already (limits.maxConnectionsPerDevice)`,
  )
}
