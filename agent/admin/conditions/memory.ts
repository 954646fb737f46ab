/** Memory of the process. */
import { MeshError } from '../../../core/errors.ts'
import type { StatusParts } from '../status-parts.ts'
import type { Condition } from './condition.ts'

const MIB = 1024 * 1024

export const MEMORY: readonly Condition[] = [
  {
    name: 'memory-full',
    holds:
      'The process has nearly all the memory that it may have: less may wait, sources with many connections get no more, nothing more is retained.',
    codes: ['MESH_MEMORY_FULL'],
    find: findFullMemory,
  },
]

function findFullMemory({ budget: { pressure, isFull } }: StatusParts): MeshError | undefined {
  if (!pressure || !isFull) return undefined
  const [own, limit] = [pressure.ownBytes, pressure.limitBytes].map((bytes) => Math.round(bytes / MIB))
  return new MeshError(
    'MESH_MEMORY_FULL',
    `${own} of ${limit} MiB are the process's own: less may wait for others, and nothing is begun that takes more`,
  )
}
