/**
 * The Common Expression Language, as far as Istio's Telemetry API uses it in filters of access logs and in labels of
 * metrics: literals, attributes, comparisons, arithmetic, `&&`, `||`, `!`, `?:`, `in`, `has()`, `size()`, `duration()`,
 * `string()`, `int()`, `double()` and the functions of texts. A parser by descent: https://github.com/google/cel-spec/blob/master/doc/langdef.md
 */
import { compileRegex, type SafeRegex } from '../../../core/regex.ts'

export type Cel =
  | { readonly kind: 'value'; readonly value: string | number | boolean | null }
  | { readonly kind: 'list'; readonly items: readonly Cel[] }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'field'; readonly of: Cel; readonly name: string }
  | { readonly kind: 'index'; readonly of: Cel; readonly key: Cel }
  | { readonly kind: 'has'; readonly of: Cel }
  | { readonly kind: 'not' | 'negate' | 'size' | Conversion; readonly of: Cel }
  | { readonly kind: 'operation'; readonly operator: Operator; readonly left: Cel; readonly right: Cel }
  | { readonly kind: 'choice'; readonly if: Cel; readonly yes: Cel; readonly no: Cel }
  | {
      readonly kind: 'text'
      readonly test: 'contains' | 'startsWith' | 'endsWith'
      readonly of: Cel
      readonly with: Cel
    }
  | { readonly kind: 'matches'; readonly of: Cel; readonly regex: SafeRegex }
export type Conversion = 'string' | 'int' | 'double'
export type Operator = '||' | '&&' | '==' | '!=' | '<' | '<=' | '>' | '>=' | 'in' | '+' | '-' | '*' | '/' | '%'

/** A configuration may not make the parser or the evaluation deep. */
const MAX_CHARS = 4_096
const MAX_DEPTH = 64

/** @returns the expression, or why it cannot be taken */
export function parseCel(text: string): Cel | { readonly problem: string } {
  if (text.length > MAX_CHARS) return { problem: `it is longer than ${MAX_CHARS} characters` }
  try {
    const parser = new Parser(split(text))
    return parser.whole()
  } catch (err) {
    if (err instanceof Refusal) return { problem: err.message }
    throw err
  }
}

class Refusal extends Error {}

type Token =
  | { readonly kind: 'value'; readonly value: string | number | boolean | null }
  | { readonly kind: 'name' | 'sign'; readonly text: string }

const TOKEN =
  /\s*(?:(\d+\.\d+(?:[eE][+-]?\d+)?|0x[0-9a-fA-F]+|\d+)u?|(r?)("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|([A-Za-z_][A-Za-z0-9_]*)|(\|\||&&|[=!<>]=|[-+*/%<>!()[\].,?:]))/y

function split(text: string): Token[] {
  const tokens: Token[] = []
  TOKEN.lastIndex = 0
  let at = 0
  while (at < text.length) {
    if (text.slice(at).trim() === '') break
    TOKEN.lastIndex = at
    const found = TOKEN.exec(text)
    if (!found && text.slice(at).trim().startsWith('|'))
      throw new Refusal("there is no operator |; has(a) ? a : 'b' says what stands for a value that is missing")
    if (!found) throw new Refusal(`${JSON.stringify(text.slice(at).trim().slice(0, 20))} is not understood`)
    at = TOKEN.lastIndex
    const [, number, raw, quoted, name, sign] = found
    if (number !== undefined) tokens.push({ kind: 'value', value: Number(number) })
    else if (quoted !== undefined) tokens.push({ kind: 'value', value: unquote(quoted, raw === 'r') })
    else if (name !== undefined) tokens.push(Object.hasOwn(WORDS, name) ? WORDS[name]! : { kind: 'name', text: name })
    else tokens.push({ kind: 'sign', text: sign! })
  }
  return tokens
}
const WORDS: Readonly<Record<string, Token>> = {
  true: { kind: 'value', value: true },
  false: { kind: 'value', value: false },
  null: { kind: 'value', value: null },
  in: { kind: 'sign', text: 'in' },
}

const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  r: '\r',
  t: '\t',
  '"': '"',
  "'": "'",
  '\\': '\\',
  '`': '`',
  '?': '?',
}
function unquote(quoted: string, raw: boolean): string {
  const text = quoted.slice(1, -1)
  if (raw) return text
  return text.replace(/\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))/gs, (_, u?: string, x?: string, c?: string) => {
    if (u !== undefined || x !== undefined) return String.fromCharCode(Number.parseInt((u ?? x)!, 16))
    const plain = ESCAPES[c!]
    if (plain === undefined) throw new Refusal(`the escape \\${c} is not understood`)
    return plain
  })
}

/** Weakest first. */
const LEVELS: readonly (readonly string[])[] = [
  ['||'],
  ['&&'],
  ['==', '!=', '<', '<=', '>', '>=', 'in'],
  ['+', '-'],
  ['*', '/', '%'],
]

class Parser {
  readonly #tokens: readonly Token[]
  #at = 0
  #depth = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  whole(): Cel {
    const made = this.#expression()
    if (this.#at < this.#tokens.length) throw new Refusal(`${this.#describe()} stands where nothing may follow`)
    return made
  }

  #expression(): Cel {
    if (++this.#depth > MAX_DEPTH) throw new Refusal(`it is nested deeper than ${MAX_DEPTH}`)
    const made = this.#level(0)
    if (!this.#takes('?')) {
      this.#depth--
      return made
    }
    const yes = this.#expression()
    this.#expect(':')
    const choice: Cel = { kind: 'choice', if: made, yes, no: this.#expression() }
    this.#depth--
    return choice
  }

  #level(level: number): Cel {
    const operators = LEVELS[level]
    if (!operators) return this.#unary()
    let left = this.#level(level + 1)
    for (;;) {
      const sign = this.#peekSign()
      if (sign === undefined || !operators.includes(sign)) return left
      this.#at++
      left = { kind: 'operation', operator: sign as Operator, left, right: this.#level(level + 1) }
    }
  }

  #unary(): Cel {
    if (++this.#depth > MAX_DEPTH) throw new Refusal(`it is nested deeper than ${MAX_DEPTH}`)
    const made: Cel = this.#takes('!')
      ? { kind: 'not', of: this.#unary() }
      : this.#takes('-')
        ? { kind: 'negate', of: this.#unary() }
        : this.#members(this.#primary())
    this.#depth--
    return made
  }

  #members(first: Cel): Cel {
    let made = first
    for (;;) {
      if (this.#takes('.')) made = this.#member(made, this.#name())
      else if (this.#takes('[')) {
        made = { kind: 'index', of: made, key: this.#expression() }
        this.#expect(']')
      } else return made
    }
  }

  #member(of: Cel, name: string): Cel {
    if (!this.#takes('(')) return { kind: 'field', of, name }
    switch (name) {
      case 'size':
        this.#expect(')')
        return { kind: 'size', of }
      case 'contains':
      case 'startsWith':
      case 'endsWith': {
        const text = this.#expression()
        this.#expect(')')
        return { kind: 'text', test: name, of, with: text }
      }
      case 'matches': {
        const regex = this.#expression()
        this.#expect(')')
        return matches(of, regex)
      }
      default:
        throw new Refusal(`the function ${name} is not evaluated`)
    }
  }

  #primary(): Cel {
    const token = this.#tokens[this.#at++]
    if (!token) throw new Refusal('it ends too early')
    if (token.kind === 'value') return token
    if (token.kind === 'name') return this.#takes('(') ? this.#call(token.text) : { kind: 'name', name: token.text }
    if (token.text === '(') {
      const made = this.#expression()
      this.#expect(')')
      return made
    }
    if (token.text === '[') return { kind: 'list', items: this.#items(']') }
    this.#at--
    throw new Refusal(`${this.#describe()} stands where a value belongs`)
  }

  #call(name: string): Cel {
    const [first, second, ...more] = this.#items(')')
    if (name === 'matches' && first && second && more.length === 0) return matches(first, second)
    if (first && second === undefined) {
      if (name === 'has' && first.kind === 'field') return { kind: 'has', of: first }
      if (name === 'size') return { kind: 'size', of: first }
      if (name === 'duration') return durationOf(first)
      if (name === 'string' || name === 'int' || name === 'double') return { kind: name, of: first }
      if (name === 'uint') return { kind: 'int', of: first }
    }
    throw new Refusal(`the function ${name} is not evaluated`)
  }

  #items(end: string): Cel[] {
    const items: Cel[] = []
    if (this.#takes(end)) return items
    do items.push(this.#expression())
    while (this.#takes(','))
    this.#expect(end)
    return items
  }

  #name(): string {
    const token = this.#tokens[this.#at++]
    if (token?.kind !== 'name') throw new Refusal('a name belongs behind the dot')
    return token.text
  }
  #peekSign(): string | undefined {
    const token = this.#tokens[this.#at]
    return token?.kind === 'sign' ? token.text : undefined
  }
  #takes(sign: string): boolean {
    if (this.#peekSign() !== sign) return false
    this.#at++
    return true
  }
  #expect(sign: string): void {
    if (!this.#takes(sign))
      throw new Refusal(`${sign} is missing${this.#at < this.#tokens.length ? ` before ${this.#describe()}` : ''}`)
  }
  #describe(): string {
    const token = this.#tokens[this.#at]
    return token === undefined ? 'the end' : token.kind === 'value' ? JSON.stringify(token.value) : token.text
  }
}

/** The pattern is compiled once, so it may not come from the request. */
function matches(of: Cel, pattern: Cel): Cel {
  if (pattern.kind !== 'value' || typeof pattern.value !== 'string')
    throw new Refusal('matches() takes a pattern in quotes')
  // CEL looks for the pattern anywhere in the text.
  const regex = compileRegex(`(?s:.*)(?:${pattern.value})(?s:.*)`)
  if ('problem' in regex) throw new Refusal(regex.problem)
  return { kind: 'matches', of, regex }
}

const UNITS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1, us: 0.001, ns: 0.000_001 }

/** Milliseconds, as request.duration is here. */
function durationOf(text: Cel): Cel {
  if (text.kind !== 'value' || typeof text.value !== 'string') throw new Refusal('duration() takes a text in quotes')
  let ms = 0
  const rest = text.value.replace(/(\d+(?:\.\d+)?)(h|ms|us|ns|m|s)/g, (_, count: string, unit: string) => {
    ms += Number(count) * UNITS[unit]!
    return ''
  })
  if (rest !== '' || text.value === '') throw new Refusal(`${JSON.stringify(text.value)} is no duration`)
  return { kind: 'value', value: ms }
}
