/** What has come over one connection and is not taken, as far as it may go: one-byte messages wait with 256 bytes each. */
import { MeshError } from '../errors.ts'

/** @returns for Mux: throws MESH_CONTROL_PROTOCOL when more would be held */
export function limitHeld(maxBytes: number): (change: number) => void {
  let bytes = 0
  return (change) => {
    bytes += change
    if (change > 0 && bytes > maxBytes)
      throw new MeshError(
        'MESH_CONTROL_PROTOCOL',
        `the relay's other side has sent more than ${maxBytes} bytes that nobody takes`,
      )
  }
}
