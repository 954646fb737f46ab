/** Where defects are told: one log line with the stack and one count each. */
import type { MeshError } from '../errors.ts'
import { listenForDefects, type Part } from './guard.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'

/** Until it is disposed of. */
export function reportDefects(log: Log, metrics: Metrics): Disposable {
  const defects = metrics.counter(
    'mesh_defects_total',
    'Defects: exceptions that nobody expected (MESH_INTERNAL). What they belonged to was ended, the rest went on. By part.',
    ['part'],
  )
  return listenForDefects((part, error) => {
    defects.cell({ part }).value++
    logDefect(log, part, error)
  })
}

/** Whatever code it carries: where nobody expects it, it is a defect, and only the stack says whose. */
export function logDefect(log: Log, part: Part, error: MeshError): void {
  const { stack } = error.cause instanceof Error ? error.cause : error
  log.error({ evt: 'defect', part, code: 'MESH_INTERNAL', err: error, stack }, 'a defect; what it belongs to is ended')
}
