/** Names and fields as HPACK's tables hold them: checked by RFC 9113 §8.2 when they are made, not at every use. */
import { findKnownName, TEXT, TOKEN } from '../h1-tables.ts'
import { hashField, isSecretName } from './sensitive.ts'
import { STATIC_FIELDS } from './static-table.ts'

/** RFC 7541 §4.1: what an entry counts beyond its name and value. */
export const ENTRY_OVERHEAD_BYTES = 32
/** Of a name, in a message. */
const MAX_SHOWN_CHARACTERS = 64
/** Longer values are searched by a regular expression: a loop over them would take longer. */
const MAX_LOOPED_CHARACTERS = 64
const COLON = 58
const HTAB = 9
const SPACE = 32
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const CONTROL = /[\0-\x08\x0a-\x1f\x7f]/

/**
 * What is refused whatever the message: what RFC 9113 §8.2 forbids, and the other control characters, which HTTP/1 does
 * not take either (RFC 9110 §5.5; nghttp2 and with it Envoy refuse them, too). Words are made of it for the first of a
 * block only.
 */
export type Fault = 'name' | 'control character' | 'whitespace'

export class FieldName {
  /** Usual names are the very strings of our sources, so that comparing them is comparing pointers. */
  readonly text: string
  readonly fault: Fault | undefined
  /** For hashes of what belongs to it. */
  readonly seed: number
  /** Values are kept nowhere but in the table of their connection. */
  readonly isSecret: boolean

  constructor(text: string) {
    this.text = text
    this.fault = isName(text) ? undefined : 'name'
    this.seed = hashField('', text)
    this.isSecret = isSecretName(text)
  }
}

export class Field {
  readonly nameOf: FieldName
  readonly name: string
  readonly value: string
  /** RFC 7541 §4.1, and what RFC 9113 §6.5.2 counts in a list of fields. */
  readonly size: number
  readonly fault: Fault | undefined

  constructor(name: FieldName, value: string) {
    this.nameOf = name
    this.name = name.text
    this.value = value
    this.size = name.text.length + value.length + ENTRY_OVERHEAD_BYTES
    this.fault = name.fault ?? valueFault(value)
  }
}

const STATIC_FIELD_NAMES = new Map(STATIC_FIELDS.map(({ name }) => [name, new FieldName(name)]))

/** By RFC 7541's index; nothing at 0. */
export const STATIC_ENTRIES: readonly (Field | undefined)[] = [
  undefined,
  ...STATIC_FIELDS.map(({ name, value }) => new Field(STATIC_FIELD_NAMES.get(name)!, value)),
]

export function parseFieldName(text: string): FieldName {
  return STATIC_FIELD_NAMES.get(text) ?? new FieldName(usual(text))
}

/** The same text, as the string of our sources where there is one. */
function usual(text: string): string {
  if (text === '') return text
  const bytes = Buffer.from(text, 'latin1')
  const known = findKnownName(bytes, 0, bytes.length)
  return known === text ? known : text // knownName takes capital letters and some bytes of no token for the same
}

/** In words, without the value: it may be a secret. */
export function findProblem({ name, fault }: Field): string {
  if (fault === 'control character') return `a control character in the value of ${shown(name)}`
  if (fault === 'whitespace') return `whitespace at an end of the value of ${shown(name)}`
  return name === '' || name === ':' ? 'a field without a name' : `the field name ${shown(name)} is no lower-case token`
}

/** RFC 9113 §8.2.1: a lower-case token; §8.3: with one colon before it, for pseudo-header fields. */
function isName(text: string): boolean {
  const from = text.charCodeAt(0) === COLON ? 1 : 0
  for (let i = from; i < text.length; i++) if (!isLowerCaseToken(text.charCodeAt(i))) return false
  return text.length > from
}

function isLowerCaseToken(code: number): boolean {
  return TOKEN[code] === 1 && !(code >= 65 && code <= 90)
}

/**
 * One rule for both codecs: what one of them let through, the other would have to leave out, and policies would have
 * seen something else.
 */
function valueFault(value: string): Fault | undefined {
  if (value === '') return undefined
  if (hasControl(value)) return 'control character'
  return isBlank(value.charCodeAt(0)) || isBlank(value.charCodeAt(value.length - 1)) ? 'whitespace' : undefined
}

/** @param value latin1 */
function hasControl(value: string): boolean {
  if (value.length > MAX_LOOPED_CHARACTERS) return CONTROL.test(value)
  for (let i = 0; i < value.length; i++) if (TEXT[value.charCodeAt(i)] !== 1) return true
  return false
}

function isBlank(code: number): boolean {
  return code === SPACE || code === HTAB
}

/** A name for a message or a log: short, without characters that a terminal or a log would act on. */
function shown(name: string): string {
  const text = name
    .slice(0, MAX_SHOWN_CHARACTERS)
    .replace(/[^\x21-\x7e]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)
  return name.length > MAX_SHOWN_CHARACTERS ? `"${text}…"` : `"${text}"`
}
