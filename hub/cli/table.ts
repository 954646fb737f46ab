import { toPrintableAll } from '../../core/printable.ts'

/** Text columns for people: a header, then rows, each cell as wide as the widest of its column. */
export function formatTable(header: readonly string[], given: readonly (readonly string[])[]): string {
  const rows = toPrintableAll(given)
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)))
  return [header, ...rows]
    .map(
      (row) =>
        `${row
          .map((cell, i) => cell.padEnd(widths[i]!))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('')
}

/** `2026-11-24 12:00:00Z`; `-` for none. */
export const formatDate = (ms: number | null): string =>
  ms === null
    ? '-'
    : new Date(ms)
        .toISOString()
        .replace('T', ' ')
        .replace(/\.\d+Z$/, 'Z')
