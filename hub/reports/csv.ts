/**
 * Rows as CSV (RFC 4180). A cell that a spreadsheet would take for a formula begins with an apostrophe, as OWASP
 * advises: names and words come from devices.
 */
import { toPrintable } from '../../core/printable.ts'

const FORMULA = /^[\s]*[=+\-@\t\r|%]/
const NUMBER = /^-?\d+(?:\.\d+)?$/

export function formatCsv(header: readonly string[], rows: readonly (readonly string[])[]): string {
  return [header, ...rows].map((row) => `${row.map(escapeCell).join(',')}\r\n`).join('')
}

function escapeCell(given: string): string {
  const text = toPrintable(given)
  const safe = FORMULA.test(text) && !NUMBER.test(text) ? `'${text}` : text
  return /[",\n\r']/.test(safe) || safe !== safe.trim() ? `"${safe.replaceAll('"', '""')}"` : safe
}
