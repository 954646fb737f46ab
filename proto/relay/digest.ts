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

/**
 * Of everything that is in force, whatever its type: device and hub compute it of what they know, and it is equal when
 * they mean the same.
 */
export function computeContent(
  types: Iterable<readonly [typeUrl: string, versions: Iterable<readonly [name: string, version: string]>]>,
): string {
  const all: (readonly [string, string])[] = []
  for (const [typeUrl, versions] of types)
    for (const [name, version] of versions) all.push([`${typeUrl} ${name}`, version])
  return computeDigest(all).toString('hex')
}
