/** Which rows a search means. */
import type { Operator } from '../access.ts'
import type { DeviceQuery, DeviceRow } from '../schemas.ts'

export function selectRows(
  rows: Iterable<DeviceRow>,
  q: Pick<DeviceQuery, 'search' | 'state' | 'namespace' | 'wrong'>,
  operator: Pick<Operator, 'sees'>,
  /** Of those that a question is true of; undefined: none was asked. */
  among?: ReadonlySet<string>,
): readonly DeviceRow[] {
  const words = q.search
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '')
  return [...rows].filter(
    (row) =>
      operator.sees(row.namespace) &&
      (among === undefined || among.has(row.name)) &&
      (q.state === undefined || row.state === q.state) &&
      (q.namespace === undefined || row.namespace === q.namespace) &&
      (q.wrong === undefined || (q.wrong === 'true') === row.wrong.length > 0) &&
      words.every((word) => matches(row, word)),
  )
}

function matches({ name, address, labels, revision, namespace }: DeviceRow, word: string): boolean {
  if (name.toLowerCase().includes(word) || address.includes(word) || namespace === word) return true
  if (revision !== null && word.length >= 6 && revision.startsWith(word)) return true
  return Object.entries(labels).some(([key, value]) => `${key}=${value}`.toLowerCase().includes(word))
}
