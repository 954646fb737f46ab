/** Names and fields as HPACK's tables hold them. RFC 9113 §8.2 judges each once, when it is made, and not at every use. */
import { knownName, TOKEN } from '../h1-tables.ts'
import { fieldHash, isSecretName } from './hpack-sensitive.ts'
import { STATIC_FIELDS } from './hpack-static-table.ts'

/** RFC 7541 §4.1: what an entry counts beyond its name and value. */
export const ENTRY_OVERHEAD_BYTES = 32
/** Of a name, in a message. */
const MAX_SHOWN_CHARACTERS = 64
/** Longer values are searched for each byte by itself: a loop over them would take longer. */
const MAX_LOOPED_CHARACTERS = 64
const COLON = 58
const HTAB = 9
const LF = 10
const CR = 13
const SPACE = 32

export class FieldName {
  /** Usual names are the very strings of our sources, so that comparing them is comparing pointers. */
  readonly text: string
  readonly problem: string | undefined
  /** For hashes of what belongs to it. */
  readonly seed: number
  /** Values are kept nowhere but in the table of their connection. */
  readonly isSecret: boolean

  constructor(text: string) {
    this.text = text
    this.problem = nameProblem(text)
    this.seed = fieldHash('', text)
    this.isSecret = isSecretName(text)
  }
}

export class Field {
  readonly nameOf: FieldName
  readonly name: string
  readonly value: string
  /** RFC 7541 §4.1, and what RFC 9113 §6.5.2 counts in a list of fields. */
  readonly size: number
  /** What RFC 9113 §8.2 forbids whatever the message, in words; undefined = nothing. */
  readonly problem: string | undefined

  constructor(name: FieldName, value: string) {
    this.nameOf = name
    this.name = name.text
    this.value = value
    this.size = name.text.length + value.length + ENTRY_OVERHEAD_BYTES
    this.problem = name.problem ?? valueProblem(name.text, value)
  }
}

const STATIC_FIELD_NAMES = new Map(STATIC_FIELDS.map(({ name }) => [name, new FieldName(name)]))

/** By RFC 7541's index; nothing at 0. */
export const STATIC_ENTRIES: readonly (Field | undefined)[] =
  [undefined, ...STATIC_FIELDS.map(({ name, value }) => new Field(STATIC_FIELD_NAMES.get(name)!, value))]

export function fieldName(text: string): FieldName {
  return STATIC_FIELD_NAMES.get(text) ?? new FieldName(usual(text))
}

/** The same text, as the string of our sources where there is one. */
function usual(text: string): string {
  if (text === '') return text
  const bytes = Buffer.from(text, 'latin1')
  const known = knownName(bytes, 0, bytes.length)
  return known === text ? known : text // knownName takes capital letters and some bytes of no token for the same
}

/** RFC 9113 §8.2.1: a lower-case token; §8.3: with one colon before it, for pseudo-header fields. */
function nameProblem(name: string): string | undefined {
  const from = name.charCodeAt(0) === COLON ? 1 : 0
  if (name.length === from) return 'a field without a name'
  for (let i = from; i < name.length; i++) {
    if (!isLowerCaseToken(name.charCodeAt(i))) return `the field name ${shown(name)} is no lower-case token`
  }
  return undefined
}

function isLowerCaseToken(code: number): boolean { return TOKEN[code] === 1 && !(code >= 65 && code <= 90) }

/** RFC 9113 §8.2.1. */
function valueProblem(name: string, value: string): string | undefined {
  if (value === '') return undefined
  if (breaksLine(value)) return `CR, LF or NUL in the value of ${shown(name)}`
  if (!isBlank(value.charCodeAt(0)) && !isBlank(value.charCodeAt(value.length - 1))) return undefined
  return `whitespace at an end of the value of ${shown(name)}`
}

function breaksLine(value: string): boolean {
  if (value.length > MAX_LOOPED_CHARACTERS) return value.includes('\n') || value.includes('\r') || value.includes('\0')
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i)
    if (code <= CR && (code === CR || code === LF || code === 0)) return true
  }
  return false
}

function isBlank(code: number): boolean { return code === SPACE || code === HTAB }

/** A name for a message or a log: short, without characters that a terminal or a log would act on. */
function shown(name: string): string {
  const text = name.slice(0, MAX_SHOWN_CHARACTERS)
    .replace(/[^\x21-\x7e]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)
  return name.length > MAX_SHOWN_CHARACTERS ? `"${text}…"` : `"${text}"`
}
