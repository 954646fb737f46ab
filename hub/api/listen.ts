/** A server of the hub begins to listen. */
import type net from 'node:net'
import { guard } from '../../core/defects/guard.ts'
import { MeshError } from '../../core/errors.ts'

/**
 * Rejects with MESH_PORT_IN_USE or MESH_PORT_FORBIDDEN.
 * @param problem of these two
 */
export function listenAt(server: net.Server, at: net.ListenOptions, problem: string): Promise<net.AddressInfo> {
  return new Promise((resolve, reject) => {
    // After it listens, an error is of a connection that could not be accepted.
    server.on(
      'error',
      guard('hub', reject, (cause: NodeJS.ErrnoException) =>
        reject(new MeshError(cause.code === 'EACCES' ? 'MESH_PORT_FORBIDDEN' : 'MESH_PORT_IN_USE', problem, { cause })),
      ),
    )
    server.listen(
      at,
      guard('hub', reject, () => resolve(server.address() as net.AddressInfo)),
    )
  })
}
