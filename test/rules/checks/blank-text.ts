/**
 * Source code whose comments, strings, templates and regular expressions are blank, so that what is left of brackets,
 * commas and words is code.
 */

/** What stands at the first character of a literal: an argument that is one must not vanish. */
const LITERAL = '"'
/** A slash behind one of these begins a regular expression. */
const BEFORE_REGEX = /(?:^|[=(,:[!&|?{};+>]|\breturn|\bcase)\s*$/
const REGEX = /\/(?![/*])(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y
const COMMENT = /\/\/[^\n]*|\/\*[\s\S]*?\*\//y
const STRING = /'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/y

/** @returns text of the same length; line breaks stay, code within templates too */
export function blankText(code: string): string {
  let out = ''
  /** Depth of braces at which each open template goes on. */
  const templates: number[] = []
  let depth = 0
  const skip = (text: string, literal: boolean): void => {
    out += (literal ? LITERAL : ' ') + text.slice(1).replace(/[^\n]/g, ' ')
  }
  while (out.length < code.length) {
    const at = out.length
    const c = code[at]!
    const found = matchAt(COMMENT, code, at) ?? matchAt(STRING, code, at)
    if (found) skip(found, !found.startsWith('/'))
    else if (c === '/' && BEFORE_REGEX.test(out.slice(-40))) skip(matchAt(REGEX, code, at) ?? c, true)
    else if (c === '`' || (c === '}' && depth === templates.at(-1))) {
      if (c === '}') templates.pop()
      const text = /^[`}](?:[^`\\$]|\\[\s\S]|\$(?!\{))*(?:`|\$\{|$)/.exec(code.slice(at))![0]
      skip(text, c === '`')
      if (text.endsWith('${')) templates.push(depth)
    } else {
      if (c === '{') depth++
      if (c === '}') depth--
      out += c
    }
  }
  return out
}

function matchAt(pattern: RegExp, code: string, at: number): string | undefined {
  pattern.lastIndex = at
  return pattern.exec(code)?.[0]
}
