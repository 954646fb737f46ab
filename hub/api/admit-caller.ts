import { MeshError } from '../../core/errors.ts'
import { describeHolder, type Caller } from './authenticate.ts'
import type { Door, DoorLimits } from './door.ts'

/**
 * The connection is no stranger's any more. Many devices may present one token: they share the room for callers that
 * have proved nothing else.
 * @param peer address and port
 * Throws MESH_CONTROL_SLOW_DOWN: the device has as many as it may.
 */
export function admitCaller(
  proved: Door['proved'],
  { maxConnectionsPerDevice }: DoorLimits,
  peer: string,
  caller: Caller,
): void {
  if (proved(peer, caller.by === 'token' ? undefined : describeHolder(caller))) return
  throw new MeshError(
    'MESH_CONTROL_SLOW_DOWN',
    `the device has ${maxConnectionsPerDevice} connections already (limits.maxConnectionsPerDevice)`,
  )
}
