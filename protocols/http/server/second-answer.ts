import { MeshError } from '../../../core/errors.ts'

/** A second head would be the answer to the next request: what says it ends the connection or stream instead. */
export function createSecondAnswer(): MeshError {
  return new MeshError('MESH_INTERNAL', 'a request was to be answered twice')
}
