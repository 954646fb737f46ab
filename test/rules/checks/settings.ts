/**
 * Which settings no code reads. Works on text: a setting is read where its name stands behind a dot, in brackets, or in
 * a pattern that takes an object apart. Neither comments nor what is in quotes counts, so that a message that names a
 * setting is no use of it.
 */

/** @returns those of `names` that none of the sources reads */
export function unread(names: Iterable<string>, sources: readonly string[]): string[] {
  const read = new Set(sources.flatMap((text) => [...namesRead(text)]))
  return [...names].filter((name) => !read.has(name))
}

export function namesRead(source: string): Set<string> {
  const code = withoutWords(source)
  const read = new Set<string>()
  // Not `.name = value`, which sets it; `==` and `=>` follow reading.
  for (const [, name] of code.matchAll(/\.([A-Za-z_]\w*)\b(?!\s*=[^=>])/g)) read.add(name!)
  for (const [, name] of source.matchAll(/\[\s*'([A-Za-z_]\w*)'\s*\]/g)) read.add(name!)
  for (const pattern of patternsIn(code))
    for (const [, name] of pattern.matchAll(/(?:^|[{,])\s*([A-Za-z_]\w*)\b/g)) read.add(name!)
  return read
}

/** The insides of `{ … } =` and of `({ … }: Type`, with those of patterns within. */
function* patternsIn(code: string): Generator<string> {
  for (const open of code.matchAll(/(?:\b(?:const|let)\s+|[(,]\s*|\[\s*)\{/g)) {
    const from = open.index + open[0].length
    let depth = 1
    let at = from
    for (; at < code.length && depth > 0; at++) depth += code[at] === '{' ? 1 : code[at] === '}' ? -1 : 0
    if (/^\s*(?:=[^=>]|:|\s*\)?\s*(?:=>|of\b)|,\s*\{|\])/.test(code.slice(at, at + 20))) yield code.slice(from, at - 1)
  }
}

/** Without comments and the words in quotes; what stands in `${…}` stays. */
function withoutWords(source: string): string {
  let out = ''
  for (let at = 0; at < source.length;) {
    const two = source.slice(at, at + 2)
    const one = source[at]!
    if (two === '//') at = endAt(source, '\n', at)
    else if (two === '/*') at = endAt(source, '*/', at + 2)
    else if (one === "'" || one === '"') {
      at = endOfQuote(source, at)
      out += "''"
    } else if (one === '`') {
      const { code, end } = template(source, at + 1)
      out += ` ${code} `
      at = end
    } else {
      out += one
      at++
    }
  }
  return out
}
function endAt(source: string, mark: string, from: number): number {
  const at = source.indexOf(mark, from)
  return at < 0 ? source.length : at + mark.length
}
/** A quote that does not end in its line is none: it stands in a regular expression. */
function endOfQuote(source: string, from: number): number {
  for (let at = from + 1; at < source.length && source[at] !== '\n'; at++) {
    if (source[at] === '\\') at++
    else if (source[at] === source[from]) return at + 1
  }
  return from + 1
}
function template(source: string, from: number): { code: string; end: number } {
  let code = ''
  let at = from
  while (at < source.length && source[at] !== '`') {
    if (source[at] === '\\') {
      at += 2
      continue
    }
    if (source.slice(at, at + 2) !== '${') {
      at++
      continue
    }
    let depth = 1
    const start = at + 2
    for (at = start; at < source.length && depth > 0; at++) {
      if (source[at] === '`') at = template(source, at + 1).end - 1
      else depth += source[at] === '{' ? 1 : source[at] === '}' ? -1 : 0
    }
    code += ` ${withoutWords(source.slice(start, at - 1))} `
  }
  return { code, end: at + 1 }
}
