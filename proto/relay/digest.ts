/**
 * What one side has of a type, in 96 bits: a device that comes back says this instead of hundreds of names and versions
 * (xDS protocol, `initial_resource_versions`), and is believed where the hub knows a set of the same digest.
 */
import { createHash } from 'node:crypto'

export const DIGEST_BYTES = 12

/** @param versions by name; '' where a name is wanted and nothing is there */
export function computeDigest(versions: Iterable<readonly [name: string, version: string]>): Buffer {
  const lines = [...versions].map(([name, version]) => `${name}\n${version}\n`).sort()
  return createHash('sha256').update(lines.join('')).digest().subarray(0, DIGEST_BYTES)
}
