/** Formats of access logs: text with operators, or JSON whose texts have them (SubstitutionFormatString). Pure. */
import { isUtf8 } from 'node:buffer'
import { memoize } from '../../core/memoize.ts'
import type { LogFacts } from './facts.ts'
import { encode, makeOperator, type LogValue, type Read } from './operators.ts'

export type Operator = { readonly name: string; readonly argument?: string; readonly maxChars?: number }
/** Text between operators is bytes as latin1 characters. */
export type FormatPart = string | Operator

export type JsonFormat =
  | { readonly kind: 'text'; readonly parts: readonly FormatPart[] }
  /** A number, a boolean or null, as it is. */
  | { readonly kind: 'literal'; readonly value: number | boolean | null }
  | { readonly kind: 'list'; readonly items: readonly JsonFormat[] }
  /** In the order of their names. */
  | { readonly kind: 'struct'; readonly fields: readonly (readonly [name: string, value: JsonFormat])[] }

/** `omitEmpty`: what is absent is nothing, in JSON no member, and not `-`. */
export type LogFormat =
  | { readonly kind: 'text'; readonly parts: readonly FormatPart[]; readonly omitEmpty: boolean }
  | { readonly kind: 'json'; readonly value: JsonFormat; readonly omitEmpty: boolean }

const TOKEN = /%%|%([A-Z_][A-Z_0-9]*)(?:\(([^)]*)\))?(?::(\d+))?%/g

/**
 * @returns the parts, or `unknown`: what in the text is no operator that is known here
 */
export function parseFormat(text: string): readonly FormatPart[] | { readonly unknown: string } {
  const parts: FormatPart[] = []
  let literal = ''
  let at = 0
  for (const token of text.matchAll(TOKEN)) {
    const before = text.slice(at, token.index)
    if (before.includes('%')) return { unknown: before.slice(before.indexOf('%')) }
    literal += before
    at = token.index + token[0].length
    if (token[0] === '%%') {
      literal += '%'
      continue
    }
    const [, name = '', argument, maxChars] = token
    if (!makeOperator(name, argument)) return { unknown: token[0] }
    if (literal !== '') parts.push(encode(literal)!)
    literal = ''
    parts.push({
      name,
      ...(argument !== undefined && { argument }),
      ...(maxChars !== undefined && { maxChars: Number(maxChars) }),
    })
  }
  const rest = text.slice(at)
  if (rest.includes('%')) return { unknown: rest.slice(rest.indexOf('%')) }
  literal += rest
  if (literal !== '') parts.push(encode(literal)!)
  return parts
}

/** The text, its end included where the format has one; bytes as latin1 characters. */
export function formatLine(format: LogFormat, facts: LogFacts): string {
  return compile(format)(facts, asIs)
}

/** For whoever reads it line by line, or at a terminal: no value of a peer ends the line, or is a command. */
export function formatLogLine(format: LogFormat, facts: LogFacts): string {
  const line = formatLine(format, facts)
  return format.kind === 'text' && ODD_LINE.test(line) ? compile(format)(facts, escapeControls) : line
}
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const ODD_LINE = /[\0-\x08\x0b-\x1f\x7f]|\n[^]/

type Write = (value: string) => string
const asIs: Write = (value) => value
const escapeControls: Write = (value) =>
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  value.replace(/[\0-\x1f\x7f]/g, (c) =>
    c === '\n' ? '\\n' : c === '\r' ? '\\r' : c === '\t' ? c : `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )

const compile = memoize((format: LogFormat): ((facts: LogFacts, write: Write) => string) => {
  if (format.kind === 'text') return compileText(format.parts, format.omitEmpty ? '' : '-')
  const json = compileJson(format.value, format.omitEmpty)
  return (facts) => `${json(facts) ?? '{}'}\n`
})

function compileText(parts: readonly FormatPart[], empty: string): (facts: LogFacts, write: Write) => string {
  const compiled = parts.map((part) => (typeof part === 'string' ? part : readOf(part)))
  return (facts, write) => {
    let out = ''
    for (const part of compiled) out += typeof part === 'string' ? part : write(asText(part(facts), empty))
    return out
  }
}

function asText(value: LogValue, empty: string): string {
  if (value === undefined || value === null) return empty
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : encode(JSON.stringify(value))!
}

function readOf({ name, argument, maxChars }: Operator): Read {
  const whole = makeOperator(name, argument) ?? (() => undefined)
  if (maxChars === undefined) return whole
  return (facts) => {
    const value = whole(facts)
    return typeof value === 'string' ? value.slice(0, maxChars) : value
  }
}

/** @returns JSON text; undefined where it is to be left out */
function compileJson(format: JsonFormat, omitEmpty: boolean): (facts: LogFacts) => string | undefined {
  switch (format.kind) {
    case 'literal': {
      const text = JSON.stringify(format.value)
      return () => text
    }
    case 'text':
      return compileJsonText(format.parts, omitEmpty)
    case 'list': {
      const items = format.items.map((item) => compileJson(item, omitEmpty))
      return (facts) => `[${items.flatMap((item) => item(facts) ?? []).join(',')}]`
    }
    case 'struct': {
      const fields = format.fields.map(
        ([name, value]) => [`${quote(encode(name)!)}:`, compileJson(value, omitEmpty)] as const,
      )
      return (facts) => {
        let out = ''
        for (const [name, read] of fields) {
          const value = read(facts)
          if (value !== undefined) out += `${out === '' ? '' : ','}${name}${value}`
        }
        // An empty list stays, as in Envoy.
        return out === '' && omitEmpty ? undefined : `{${out}}`
      }
    }
    default:
      return format satisfies never
  }
}

/** A single operator keeps the type of its value; beside other text it is text. */
function compileJsonText(parts: readonly FormatPart[], omitEmpty: boolean): (facts: LogFacts) => string | undefined {
  const [only] = parts
  if (parts.length === 1 && typeof only === 'object') {
    const read = readOf(only)
    const absent = omitEmpty ? undefined : 'null'
    return (facts) => {
      const value = read(facts)
      if (typeof value === 'string') return quote(value)
      return value === undefined || value === null ? absent : encode(JSON.stringify(value))
    }
  }
  const text = compileText(parts, omitEmpty ? '' : '-')
  return (facts) => quote(text(facts, asIs))
}

/**
 * Bytes in quotes. What is no UTF-8 is told byte by byte, as in Envoy.
 * @param text bytes as latin1 characters
 */
function quote(text: string): string {
  if (!/[^ !#-[\]-~]/.test(text)) return `"${text}"`
  const bytes = Buffer.from(text, 'latin1')
  if (isUtf8(bytes)) return encode(JSON.stringify(bytes.toString('utf8')))!
  return `"${text.replace(/[^ !#-[\]-~]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)}"`
}
