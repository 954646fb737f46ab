/**
 * Who lets Node call a function without a guard around it, or leaves a promise to nobody. Reads text, not types: a
 * callback is whatever is given to one of the calls below, and it is guarded when it says so in place or where its name
 * is defined in the same file.
 */

/** Call → which of its arguments is a callback. */
const CALLS: readonly (readonly [call: RegExp, argument: number])[] = [
  [/\.(?:on|once|addListener|prependListener|prependOnceListener|addEventListener)\(/g, 1],
  [/\b(?:queueMicrotask|setImmediate|setTimeout|setInterval|process\.nextTick)\(/g, 0],
  [/\b(?:createServer|createSecureServer)\(/g, -1],
  [/\bserver\.listen\(/g, -1],
  [/\.end\(/g, -1],
]
/** What cannot throw: nothing done, or a promise settled. */
const HARMLESS =
  /^(?:doNothing|ignore|resolve|reject|\(\) =>\s+(?:\{\s*\}|undefined)|\(\) =>\s+(?:\{\s+)?\w+\.destroy\(\)(?:\s+\})?|\([\w:.\s]*\) =>\s+\{?\s*(?:resolve|reject|clearTimeout)\(\s*(?:[\w.#]*|new MeshError\(.*\),?)\s*\);?\s*\}?)$/s
/** A promise's own end: awaited, given to somebody, kept, or guarded. */
const OWNED = /^(?:return|await|yield|throw|export|const|let|using|[\w.#[\]]+(?:: [\w<>| ]+)? (?:\?\?|\|\|)?= )|=> /

export function unguarded(text: string): string[] {
  const code = withoutComments(text)
  return [...callbacksOf(code), ...floatingOf(code)]
}

function callbacksOf(code: string): string[] {
  const found: string[] = []
  for (const [call, which] of CALLS) {
    for (const match of code.matchAll(call)) {
      const args = argumentsOf(code, match.index + match[0].length)
      const callback = which === -1 ? args.find((a) => /=>/.test(a) && !a.startsWith('{')) : args[which]
      if (callback === undefined || isGuarded(callback, code)) continue
      found.push(`${match[0].replace(/^\./, '')}${args.join(', ')})`.replace(/\s+/g, ' ').slice(0, 120))
    }
  }
  return found
}

function isGuarded(callback: string, code: string): boolean {
  if (callback.startsWith('guard(') || HARMLESS.test(callback)) return true
  // An object that is told by its handleEvent.
  const told = callback === 'this' ? /\bhandleEvent\(\): void \{\s*(\w+)\(this\)\s*\}/.exec(code)?.[1] : undefined
  const name = told ?? /^(?:this\.)?(#?\w+)$/.exec(callback)?.[1]
  return name !== undefined && new RegExp(`(?:^|[^\\w#])${name} = (?:guard\\(|doNothing$)`, 'm').test(code)
}

function floatingOf(code: string): string[] {
  const found: string[] = []
  for (const match of code.matchAll(/(?:^|[{;)]|=>)[ \t]*void[ \t]+[\w#(.]/gm))
    found.push(lineAt(code, match.index + match[0].length))
  for (const match of code.matchAll(/\.(?:then|catch|finally)\(/g)) {
    const before = expressionBefore(code, match.index)
    if (before.owner === 'statement' && !OWNED.test(withoutArguments(before.text)) && !endsQuietly(code, match.index))
      found.push(lineAt(code, match.index))
  }
  return [...new Set(found)]
}

/** `.catch(doNothing)` at the end: what is rejected is told elsewhere, and nothing in the chain's end can throw. */
function endsQuietly(code: string, at: number): boolean {
  let rest = code.slice(at)
  for (let call = /^\s*\.(then|catch|finally)\(/.exec(rest); call; call = /^\s*\.(then|catch|finally)\(/.exec(rest)) {
    const args = argumentsOf(rest, call[0].length)
    rest = rest.slice(call[0].length + lengthOfArguments(rest, call[0].length) + 1)
    if (!/^\s*\./.test(rest)) return (call[1] === 'catch' || args.length === 2) && args.every((a) => HARMLESS.test(a))
  }
  return false
}

/**
 * The text of the expression that ends at `end`, back to the beginning of its statement; `argument` where it stands in
 * brackets of somebody else.
 */
function expressionBefore(code: string, end: number): { text: string; owner: 'statement' | 'argument' } {
  let depth = 0
  for (let i = end - 1; i >= 0; i--) {
    const c = code[i]!
    if (c === ')' || c === ']' || c === '}') depth++
    else if (c === '(' || c === '[') {
      if (depth-- === 0) return { text: code.slice(i + 1, end).trim(), owner: 'argument' }
    } else if (c === '{') {
      if (depth-- === 0) return { text: code.slice(i + 1, end).trim(), owner: 'statement' }
    } else if (depth === 0 && c === ',') return { text: code.slice(i + 1, end).trim(), owner: 'argument' }
    else if (depth === 0 && (c === ';' || (c === '\n' && !goesOn(code, i))))
      return { text: code.slice(i + 1, end).trim(), owner: 'statement' }
  }
  return { text: code.slice(0, end).trim(), owner: 'statement' }
}

/** The line that ends here is not the end of its statement. */
function goesOn(code: string, newline: number): boolean {
  return (
    /[(,[=:?&|+]\s*$|=>\s*$/.test(code.slice(0, newline)) || /^\s*[.?)]/.test(code.slice(newline + 1, newline + 40))
  )
}

/** `a.b(...).then(...)` → `a.b§.then§`: an arrow among the arguments owns nothing. */
function withoutArguments(text: string): string {
  const shorter = text.replace(/\([^()]*\)/g, '§')
  return shorter === text ? text : withoutArguments(shorter)
}

function argumentsOf(code: string, start: number): string[] {
  const args: string[] = []
  let from = start
  const end =
    start +
    lengthOfArguments(code, start, (at) => {
      args.push(code.slice(from, at).trim())
      from = at + 1
    })
  const last = code.slice(from, end).trim()
  return last === '' ? args : [...args, last]
}

function lengthOfArguments(code: string, start: number, comma: (at: number) => void = () => {}): number {
  let depth = 0
  let quote = ''
  for (let i = start; i < code.length; i++) {
    const c = code[i]!
    if (quote !== '') {
      if (c === '\\') i++
      else if (c === quote) quote = ''
    } else if (c === "'" || c === '`' || c === '"') quote = c
    else if (c === '(' || c === '[' || c === '{') depth++
    else if (c === ')' || c === ']' || c === '}') {
      if (depth-- === 0) return i - start
    } else if (c === ',' && depth === 0) comma(i)
  }
  return code.length - start
}

function lineAt(code: string, index: number): string {
  return code
    .slice(code.lastIndexOf('\n', index - 1) + 1, code.indexOf('\n', index))
    .trim()
    .slice(0, 120)
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[\s;{}(,])\/\/[^\n]*/g, '$1')
}
