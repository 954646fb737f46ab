/** Where a text stops being JSON (RFC 8259): what JSON.parse throws does not always say. */

const TOKEN =
  /[ \t\r\n]*(?:("(?:[^"\\]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")|([[\]{},:])|(true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.])|$)/y

/** `first`: a list or an object has just begun and may end. */
type Awaited = 'value' | 'value first' | 'key' | 'key first' | 'colon' | 'next' | 'end'

/** Offset of the first mistake; the text's length when it ends too early. */
export function findMistake(text: string): number {
  const open: ('[' | '{')[] = []
  let awaited: Awaited = 'value'
  for (let at = 0; ;) {
    TOKEN.lastIndex = at
    const found = TOKEN.exec(text)
    const from = startOf(text, at)
    if (!found || found[0].length === 0) return from
    const [, string, mark, word] = found
    if (string !== undefined && hasControl(string)) return from
    const next = after(awaited, string !== undefined ? 'string' : word !== undefined ? 'word' : mark, open)
    if (next === undefined) return from
    awaited = next
    at = TOKEN.lastIndex
  }
}

function hasControl(string: string): boolean {
  for (let i = 0; i < string.length; i++) if (string.charCodeAt(i) < 0x20) return true
  return false
}

function startOf(text: string, from: number): number {
  let at = from
  while (at < text.length && /[ \t\r\n]/.test(text[at]!)) at++
  return at
}

/** Undefined: this may not stand here. */
function after(awaited: Awaited, token: string | undefined, open: ('[' | '{')[]): Awaited | undefined {
  switch (awaited) {
    case 'value first':
    case 'value':
      if (token === 'string' || token === 'word') return closed(open)
      if (token === '[') {
        open.push('[')
        return 'value first'
      }
      if (token === '{') {
        open.push('{')
        return 'key first'
      }
      return token === ']' && awaited === 'value first' ? (open.pop(), closed(open)) : undefined
    case 'key first':
    case 'key':
      if (token === 'string') return 'colon'
      return token === '}' && awaited === 'key first' ? (open.pop(), closed(open)) : undefined
    case 'colon':
      return token === ':' ? 'value' : undefined
    case 'next':
      if (token === ',') return open.at(-1) === '[' ? 'value' : 'key'
      return token === (open.at(-1) === '[' ? ']' : '}') ? (open.pop(), closed(open)) : undefined
    case 'end':
      return undefined
    default:
      return awaited satisfies never
  }
}
const closed = (open: readonly string[]): Awaited => (open.length === 0 ? 'end' : 'next')
