import { createRequire } from 'node:module'
import type * as Re2 from 're2js'

/** A compiled pattern in RE2 syntax that always takes linear time (Envoy's safe_regex). */
export interface SafeRegex {
  readonly source: string
  /** The whole text must match, as Envoy's RegexMatcher asks. */
  matchesAll(text: string): boolean
  /** Every match replaced; `\1` in `by` is a group (Envoy's RegexMatchAndSubstitute). */
  replaceAll(text: string, by: string): string
}

/** Longer patterns are refused: they come from the control plane but cost memory on the device. */
const MAX_PATTERN_CHARS = 4096

let loaded: typeof Re2 | undefined

/** @returns the compiled pattern, or why it cannot be compiled. */
export function compileRegex(source: string): SafeRegex | { problem: string } {
  if (source.length > MAX_PATTERN_CHARS) return { problem: `pattern is longer than ${MAX_PATTERN_CHARS} characters` }
  // Loaded at the first pattern: most devices have none, and the engine costs memory. JavaScript's own engine
  // backtracks, so a hostile path could hold the event loop for minutes.
  loaded ??= createRequire(import.meta.url)('re2js') as typeof Re2
  try {
    const re = loaded.RE2JS.compile(source)
    return {
      source,
      matchesAll: (text) => re.matches(text),
      replaceAll: (text, by) => re.matcher(text).replaceAll(by.replaceAll('$', '\\$').replace(/\\(\d)/g, '$$$1')),
    }
  } catch (err) {
    return { problem: err instanceof Error ? err.message : String(err) }
  }
}
