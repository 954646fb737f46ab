/** What one ADS stream may ask for. More is a defect or an attack, and ends the stream with MESH_CONTROL_PROTOCOL. */
import { MeshError } from '../../../core/errors.ts'

export const MAX_TYPES = 64
export const MAX_TYPE_URL_CHARS = 256
/** Per type: a mesh of 20,000 services with five ports each. */
export const MAX_NAMES = 100_000
export const MAX_NAME_CHARS = 2_048
/** What a name that is watched takes beside its letters, bytes: a hundred thousand of three letters are not 300 kB. */
export const NAME_COST_BYTES = 128
/** Responses of a type that wait for their ACK; older ones are no longer waited for. */
export const MAX_UNACKED = 1_000

export function checkType(typeUrl: string, watched: ReadonlyMap<string, unknown>): void {
  if (typeUrl === '') throw new MeshError('MESH_CONTROL_PROTOCOL', 'the request has no type_url')
  if (typeUrl.length > MAX_TYPE_URL_CHARS || (!watched.has(typeUrl) && watched.size >= MAX_TYPES)) {
    throw new MeshError(
      'MESH_CONTROL_PROTOCOL',
      `one stream may ask for ${MAX_TYPES} types with names of ${MAX_TYPE_URL_CHARS} characters`,
    )
  }
}

export function checkNames(names: ReadonlySet<string>, more: Iterable<string>): void {
  let count = names.size
  for (const name of more)
    if (++count > MAX_NAMES || name.length > MAX_NAME_CHARS)
      throw new MeshError(
        'MESH_CONTROL_PROTOCOL',
        `one stream may ask for ${MAX_NAMES} names of ${MAX_NAME_CHARS} characters`,
      )
}
