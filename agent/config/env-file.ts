/**
 * Assignments in a shell's form, as istioctl writes them into cluster.env (istio pkg/util/shellescape) and as people
 * add to them. Nothing is expanded.
 */

export type EnvEntry = { readonly key: string; readonly value: string; readonly line: number }
export type EnvFile = {
  readonly entries: readonly EnvEntry[]
  readonly problems: readonly { readonly line: number; readonly problem: string }[]
}

/** The last of several assignments to one name counts, as in a shell. */
export function parseEnvFile(text: string): EnvFile {
  const entries = new Map<string, EnvEntry>()
  const problems: { line: number; problem: string }[] = []
  const reader = new Reader(text)
  while (reader.skipToWord()) {
    const { line } = reader
    const key = reader.take(/(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=/y)
    const value = key === undefined ? { problem: "is no assignment: KEY='value' is expected" } : reader.word()
    if (key !== undefined && 'text' in value && reader.atLineEnd()) entries.set(key, { key, value: value.text, line })
    else {
      problems.push({ line, problem: 'problem' in value ? value.problem : 'has something behind the value; quote it' })
      reader.skipLine()
    }
  }
  return { entries: [...entries.values()], problems }
}

class Reader {
  readonly #text: string
  #at = 0
  #line = 1
  constructor(text: string) {
    this.#text = text
  }
  get line(): number {
    return this.#line
  }

  /** Past blank lines and comments; false at the end. */
  skipToWord(): boolean {
    this.take(/((?:[ \t\r\n]+|#[^\n]*)*)/y)
    return this.#at < this.#text.length
  }
  atLineEnd(): boolean {
    return this.take(/([ \t\r]*(?:#[^\n]*)?(?=\n|$))/y) !== undefined
  }
  skipLine(): void {
    this.take(/([^\n]*)/y)
  }
  /** What the pattern's group matched here. @param pattern sticky */
  take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)
    if (!found) return undefined
    this.#at = pattern.lastIndex
    this.#line += found[0].split('\n').length - 1
    return found[1]
  }

  /** Quoted and bare pieces up to a space, as `'the plant'"'"'s gate'`. */
  word(): { readonly text: string } | { readonly problem: string } {
    let text = ''
    for (;;) {
      const piece =
        this.take(/'([^']*)'/y) ??
        this.take(/([A-Za-z0-9_@%+=:,./~^[\]{}!?*-]+)/y) ??
        this.take(/"((?:[^"\\$`]|\\[^])*)"/y)?.replace(/\\([$`"\\])|\\\n/g, '$1') ??
        this.take(/\\([^\n])/y)
      if (piece !== undefined) {
        text += piece
        continue
      }
      const next = this.#text[this.#at]
      if (next === undefined || /\s/.test(next)) return { text }
      if (next === "'") return { problem: 'has a quote that is not closed' }
      if (next === '"' || next === '$' || next === '`')
        return { problem: 'would have to be expanded by a shell, or has a quote that is not closed' }
      return { problem: `has a ${next} that must be quoted` }
    }
  }
}
