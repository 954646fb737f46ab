/**
 * Names come from the network and from other people's files: what a terminal or a reader of lines would obey is written
 * as what it is. Control characters (C0, DEL, C1), line and paragraph separators, and those that turn the direction of
 * what follows (Unicode TR 36 §2.10) become \uXXXX, as in JSON.
 */
const OBEYED = /[\p{Cc}\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}
function escapedInLines(character: string): string {
  return character === '\n' || character === '\t' ? character : escaped(character)
}

/** One name or message, for one line. */
export function toPrintable(text: string): string {
  return text.replaceAll(OBEYED, escaped)
}

/** A text of several lines, as it goes to a terminal. */
export function escapeForTerminal(text: string): string {
  return text.replaceAll(OBEYED, escapedInLines)
}

/** The same value with every text in it printable. Plain data only. */
export function toPrintableAll<T>(value: T): T {
  if (typeof value === 'string') return toPrintable(value) as T
  if (Array.isArray(value)) return value.map(toPrintableAll) as T
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [toPrintable(key), toPrintableAll(inner)])) as T
}
