/**
 * Questions about devices: `connected=false and seen<-10m`.
 *
 *     question   = part {"or" part}
 *     part       = condition {"and" condition}
 *     condition  = "not" condition | "(" question ")" | comparison
 *     comparison = field ("=" | "!=" | "<" | "<=" | ">" | ">=" | "~") value
 *     value      = word | 'text' | "text"
 *
 * Fields are those of fields.ts, and `label.KEY`. A time is `-10m` (so long ago), `+3d` (in so long) or a date; a number
 * may end in k, M or G; `~` takes a pattern with `*` and `?`. `none` is what is not known, and nothing else is equal to
 * it, smaller or greater.
 */
import { MeshError } from '../../core/errors.ts'
import { toPrintable } from '../../core/printable.ts'
import { findField, type Field, type FieldType, type FieldValue } from './fields.ts'
import type { FleetRow } from './fleet-row.ts'

export type Question = (row: FleetRow) => boolean

const MAX_CHARS = 4_096
const MAX_DEPTH = 64
/** Each is made with every device. */
const MAX_COMPARISONS = 100
const OPERATORS = ['!=', '<=', '>=', '=', '<', '>', '~'] as const
type Operator = (typeof OPERATORS)[number]
type Token = {
  readonly text: string
  readonly at: number
  readonly kind: 'word' | 'quoted' | 'operator' | 'bracket' | 'end'
}
const TOKEN =
  /\s*(?:(?<operator>!=|<=|>=|[=<>~])|(?<bracket>[()])|'(?<single>[^']*)'|"(?<double>[^"]*)"|(?<word>[^\s=<>~!()'"]+))/y

/** Rejects what it does not understand with MESH_CONFIG_INVALID, naming the place. @param nowMs for times */
export function parseQuestion(text: string, nowMs: number): Question {
  if (text.length > MAX_CHARS) throw wrong(text, 0, `the question has more than ${MAX_CHARS} characters`)
  const parser = new Parser(text, nowMs)
  return parser.parse()
}

class Parser {
  readonly #text: string
  readonly #nowMs: number
  readonly #tokens: readonly Token[]
  #next = 0
  #depth = 0
  #comparisons = 0

  constructor(text: string, nowMs: number) {
    this.#text = text
    this.#nowMs = nowMs
    this.#tokens = splitTokens(text)
  }

  parse(): Question {
    const question = this.#either()
    const { kind, at } = this.#peek()
    if (kind !== 'end') throw this.#wrong(at, 'expected "and", "or" or the end')
    return question
  }

  #either(): Question {
    const parts = [this.#all()]
    while (this.#takeWord('or')) parts.push(this.#all())
    return parts.length === 1 ? parts[0]! : (row) => parts.some((part) => part(row))
  }
  #all(): Question {
    const parts = [this.#condition()]
    while (this.#takeWord('and')) parts.push(this.#condition())
    return parts.length === 1 ? parts[0]! : (row) => parts.every((part) => part(row))
  }
  #condition(): Question {
    if (++this.#depth > MAX_DEPTH) throw this.#wrong(this.#peek().at, `more than ${MAX_DEPTH} levels`)
    try {
      if (this.#takeWord('not')) {
        const inner = this.#condition()
        return (row) => !inner(row)
      }
      const { kind, text, at } = this.#peek()
      if (kind !== 'bracket' || text !== '(') return this.#comparison()
      this.#next++
      const inner = this.#either()
      if (this.#peek().text !== ')' || this.#peek().kind !== 'bracket')
        throw this.#wrong(this.#peek().at, `expected ")" for the "(" at column ${at + 1}`)
      this.#next++
      return inner
    } finally {
      this.#depth--
    }
  }

  #comparison(): Question {
    const name = this.#take()
    if (++this.#comparisons > MAX_COMPARISONS) throw this.#wrong(name.at, `more than ${MAX_COMPARISONS} comparisons`)
    if (name.kind !== 'word') throw this.#wrong(name.at, 'expected a field')
    const field = findField(name.text)
    if (!field)
      throw this.#wrong(name.at, `there is no field "${toPrintable(name.text)}"; meshlet-hub devices --help lists them`)
    const operator = this.#take()
    if (operator.kind !== 'operator') throw this.#wrong(operator.at, `expected one of ${OPERATORS.join(' ')}`)
    const value = this.#take()
    if (value.kind !== 'word' && value.kind !== 'quoted') throw this.#wrong(value.at, 'expected a value')
    return this.#compare(field, operator, value)
  }

  #compare(field: Field, operator: Token, value: Token): Question {
    const how = operator.text as Operator
    if (value.kind === 'word' && value.text === 'none') {
      if (how !== '=' && how !== '!=') throw this.#wrong(operator.at, 'none is compared with = and != alone')
      return (row) => (readAll(field, row).length === 0) === (how === '=')
    }
    if (how === '~') {
      if (field.type !== 'text') throw this.#wrong(operator.at, 'patterns are for texts')
      const matches = compilePattern(value.text)
      return (row) => readAll(field, row).some((known) => matches(String(known)))
    }
    if (how !== '=' && how !== '!=' && field.type === 'boolean')
      throw this.#wrong(operator.at, 'true and false are compared with = and != alone')
    const wanted = this.#readValue(field.type, value)
    // What differs from it differs for all that is known.
    if (how === '!=') return (row) => readAll(field, row).every((known) => known !== wanted)
    const holds = HOLDS[how]
    return (row) => readAll(field, row).some((known) => holds(known, wanted))
  }

  #readValue(type: FieldType, { text, at, kind }: Token): string | number | boolean {
    switch (type) {
      case 'text':
        return text
      case 'boolean':
        if (text !== 'true' && text !== 'false') throw this.#wrong(at, 'expected true or false')
        return text === 'true'
      case 'number': {
        const number = readNumber(text)
        if (number === undefined) throw this.#wrong(at, 'expected a number, e.g. 10, 1.5k or 3M')
        return number
      }
      case 'time': {
        const ms = readTime(text, this.#nowMs)
        if (ms === undefined || (kind === 'word' && text === ''))
          throw this.#wrong(at, 'expected a time, e.g. -10m (ten minutes ago), +3d or 2026-11-24')
        return ms
      }
    }
  }

  #peek(): Token {
    return this.#tokens[this.#next]!
  }
  #take(): Token {
    const token = this.#peek()
    if (token.kind !== 'end') this.#next++
    return token
  }
  #takeWord(word: string): boolean {
    const { kind, text } = this.#peek()
    if (kind !== 'word' || text !== word) return false
    this.#next++
    return true
  }
  #wrong(at: number, what: string): MeshError {
    return wrong(this.#text, at, what)
  }
}

function splitTokens(text: string): Token[] {
  const tokens: Token[] = []
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < text.trimEnd().length) {
    const from = TOKEN.lastIndex
    const found = TOKEN.exec(text)
    if (!found) {
      const at = from + /^\s*/.exec(text.slice(from))![0].length
      throw wrong(text, at, /['"]/.test(text[at] ?? '') ? 'a text without its end' : 'this is nothing that is known')
    }
    const { operator, bracket, single, double, word } = found.groups!
    const quoted = single ?? double
    const at = from + found[0].length - found[0].trimStart().length
    if (quoted !== undefined) tokens.push({ text: quoted, at, kind: 'quoted' })
    else if (operator !== undefined) tokens.push({ text: operator, at, kind: 'operator' })
    else if (bracket !== undefined) tokens.push({ text: bracket, at, kind: 'bracket' })
    else tokens.push({ text: word!, at, kind: 'word' })
  }
  tokens.push({ text: '', at: text.trimEnd().length, kind: 'end' })
  return tokens
}

/** What is known of it. */
function readAll(field: Field, row: FleetRow): readonly Exclude<FieldValue, undefined>[] {
  const value = field.read(row)
  return (Array.isArray(value) ? (value as readonly FieldValue[]) : [value as FieldValue]).filter(
    (one) => one !== undefined,
  )
}

type Known = string | number | boolean
const HOLDS: Readonly<Record<Exclude<Operator, '!=' | '~'>, (known: Known, wanted: Known) => boolean>> = {
  '=': (known, wanted) => known === wanted,
  '<': (known, wanted) => known < wanted,
  '<=': (known, wanted) => known <= wanted,
  '>': (known, wanted) => known > wanted,
  '>=': (known, wanted) => known >= wanted,
}

/** What stands between stars is looked for from left to right, and never anew. */
function compilePattern(pattern: string): (text: string) => boolean {
  const parts = pattern.split('*')
  const startsWith = (text: string, at: number, part: string): boolean => {
    if (at + part.length > text.length) return false
    for (let i = 0; i < part.length; i++) if (part[i] !== '?' && text[at + i] !== part[i]) return false
    return true
  }
  return (text) => {
    if (parts.length === 1) return text.length === pattern.length && startsWith(text, 0, pattern)
    const [first, last] = [parts[0]!, parts.at(-1)!]
    if (text.length < first.length + last.length || !startsWith(text, 0, first)) return false
    const end = text.length - last.length
    if (!startsWith(text, end, last)) return false
    let at = first.length
    for (const part of parts.slice(1, -1)) {
      while (at + part.length <= end && !startsWith(text, at, part)) at++
      if (at + part.length > end) return false
      at += part.length
    }
    return true
  }
}

const FACTORS: Readonly<Record<string, number>> = { '': 1, k: 1e3, M: 1e6, G: 1e9 }
function readNumber(text: string): number | undefined {
  const [, digits, unit] = /^(-?\d{1,15}(?:\.\d{1,6})?)([kMG]?)$/.exec(text) ?? []
  return digits === undefined ? undefined : Number(digits) * FACTORS[unit!]!
}

const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }
function readTime(text: string, nowMs: number): number | undefined {
  const [, sign, digits, unit] = /^([-+])(\d{1,9})([smhd])$/.exec(text) ?? []
  if (sign !== undefined) return nowMs + (sign === '-' ? -1 : 1) * Number(digits) * UNIT_MS[unit!]!
  if (!/^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d)?Z?)?$/.test(text)) return undefined
  const ms = Date.parse(text.length > 10 && !text.endsWith('Z') ? `${text}Z` : text)
  return Number.isNaN(ms) ? undefined : ms
}

function wrong(text: string, at: number, what: string): MeshError {
  const shown = toPrintable(text.slice(Math.max(0, at - 30), at + 30))
  return new MeshError('MESH_CONFIG_INVALID', `--where: column ${at + 1}: ${what} (… ${shown} …)`)
}
