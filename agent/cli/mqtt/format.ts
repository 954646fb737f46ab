/** A received message as mosquitto_sub prints it: the payload, with `-v` the topic, or a format string. */
import type { IPublishPacket } from 'mqtt'
import { MeshError } from '../../../core/errors.ts'
import { escapeForTerminal } from '../../../core/printable.ts'
import type { OutputOptions } from './options.ts'
import { formatTimeConversion } from './strftime.ts'

export type Received = { readonly topic: string; readonly payload: Buffer; readonly packet: IPublishPacket }
export type Formatted = { readonly bytes: Buffer; readonly error?: string }

/** @param isTerminal what the message has in it may not command the terminal */
export class MessageFormat {
  readonly #o: OutputOptions
  readonly #isTerminal: boolean
  /** @throws MESH_CONFIG_INVALID */
  constructor(options: OutputOptions, isTerminal: boolean) {
    refuseUnknown(options.format ?? '')
    this.#o = options
    this.#isTerminal = isTerminal
  }

  format(message: Received, wallMs: number): Formatted {
    const end = this.#o.eol ? '\n' : ''
    const { topic, payload } = message
    if (this.#o.format !== undefined) {
      const { bytes, error } = this.#formatted(this.#o.format, message, wallMs)
      return { bytes: Buffer.concat([bytes, Buffer.from(end)]), ...(error === undefined ? {} : { error }) }
    }
    const isEmpty = payload.length === 0
    if (!this.#o.verbose) return { bytes: isEmpty ? payload : Buffer.concat([this.#safe(payload), Buffer.from(end)]) }
    // As mosquitto_sub does.
    if (isEmpty) return { bytes: Buffer.from(end && `${this.#text(topic)} (null)${end}`) }
    return { bytes: Buffer.concat([Buffer.from(`${this.#text(topic)} `), this.#safe(payload), Buffer.from(end)]) }
  }

  #safe(bytes: Buffer): Buffer {
    return this.#isTerminal ? Buffer.from(escapeForTerminal(bytes.toString('utf8'))) : bytes
  }
  #text(value: string): string {
    return this.#isTerminal ? escapeForTerminal(value) : value
  }

  #formatted(format: string, message: Received, wallMs: number): Formatted {
    const parts: Buffer[] = []
    let error: string | undefined
    for (const piece of format.matchAll(PIECES)) {
      const [whole] = piece
      const { flags, width, precision, letter, time, escape } = piece.groups ?? {}
      if (letter !== undefined) {
        const field = fieldOf(letter, message, wallMs, this.#o.pretty === true)
        if (field === undefined) error = `the payload on topic ${message.topic} is not valid JSON`
        else parts.push(this.#safe(fitted(field, letter, { flags: flags!, width: Number(width), precision })))
      } else if (time !== undefined) parts.push(Buffer.from(timeOf(time, wallMs)))
      else if (escape !== undefined) parts.push(Buffer.from(ESCAPES[escape] ?? whole))
      else parts.push(Buffer.from(whole))
    }
    return { bytes: Buffer.concat(parts), ...(error === undefined ? {} : { error }) }
  }
}

function refuseUnknown(format: string): void {
  for (const { 0: piece, groups: { letter, escape } = {} } of format.matchAll(PIECES)) {
    const isKnown =
      letter !== undefined
        ? LETTERS.includes(letter)
        : escape !== undefined
          ? escape in ESCAPES
          : !['%', '@', '\\'].includes(piece)
    if (!isKnown) throw new MeshError('MESH_CONFIG_INVALID', `-F: "${piece}" is nothing that is known (--help)`)
  }
}
const LETTERS = '%ACDEFIJPRSUXjlmpqrtx'

const PIECES =
  /%(?<flags>-?0?)(?<width>\d*)(?:\.(?<precision>\d*))?(?<letter>[%A-Za-z])|@(?<time>.)|\\(?<escape>.)|[^%@\\]+|./gsu
const ESCAPES: Readonly<Record<string, string>> = {
  '\\': '\\',
  '0': '\0',
  a: '\u0007',
  e: '\u001b',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
}

function timeOf(letter: string, wallMs: number): string {
  if (letter === '@') return '@'
  return letter === 'N' ? nanoseconds(wallMs) : formatTimeConversion(letter, new Date(wallMs))
}
const nanoseconds = (wallMs: number): string => `${String(Math.floor(wallMs % 1000)).padStart(3, '0')}000000`

type Field = string | number | Buffer
const WITH_WIDTH = 'ACEFIlmpRStxX'
const WITH_PRECISION = 'CIRt'
function fitted(
  field: Field,
  letter: string,
  { flags, width, precision }: { flags: string; width: number; precision: string | undefined },
): Buffer {
  const plain = Buffer.isBuffer(field) ? field : Buffer.from(String(field))
  const cut = precision !== undefined && WITH_PRECISION.includes(letter) ? plain.subarray(0, Number(precision)) : plain
  const lacking = WITH_WIDTH.includes(letter) ? width - cut.length : 0
  if (lacking <= 0) return cut
  if (flags.includes('-')) return Buffer.concat([cut, Buffer.alloc(lacking, ' ')])
  const isPaddedWithZeros = flags.includes('0') && !WITH_PRECISION.includes(letter)
  return Buffer.concat([Buffer.alloc(lacking, isPaddedWithZeros ? '0' : ' '), cut])
}

/** @returns undefined for JSON that should be in the payload and is not */
function fieldOf(letter: string, message: Received, wallMs: number, isPretty: boolean): Field | undefined {
  const { topic, payload, packet } = message
  const at = new Date(wallMs)
  switch (letter) {
    case '%':
      return '%'
    case 'I':
      return `${formatTimeConversion('F', at)}T${formatTimeConversion('T', at)}${formatTimeConversion('z', at)}`
    case 'j':
    case 'J':
      return jsonOf(message, at, { isRaw: letter === 'J', isPretty })
    case 'l':
      return payload.length
    case 'm':
      return packet.messageId ?? 0
    case 'p':
      return payload
    case 'q':
      return packet.qos
    case 'r':
      return packet.retain ? 1 : 0
    case 't':
      return topic
    case 'U':
      return `${formatTimeConversion('s', at)}.${nanoseconds(wallMs)}`
    case 'x':
      return payload.toString('hex')
    case 'X':
      return payload.toString('hex').toUpperCase()
    default:
      return propertyOf(letter, packet)
  }
}

function propertyOf(letter: string, { properties = {} }: IPublishPacket): Field {
  const { subscriptionIdentifier: ids } = properties
  switch (letter) {
    case 'A':
      return properties.topicAlias ?? ''
    case 'C':
      return properties.contentType ?? ''
    case 'D':
      return properties.correlationData ?? ''
    case 'E':
      return properties.messageExpiryInterval ?? ''
    case 'F':
      return properties.payloadFormatIndicator === undefined ? '' : Number(properties.payloadFormatIndicator)
    case 'P':
      return pairsOf(properties)
        .map(([name, value]) => `${name}:${value}`)
        .join(' ')
    case 'R':
      return properties.responseTopic ?? ''
    case 'S':
      return (Array.isArray(ids) ? ids[0] : ids) ?? ''
    default:
      return ''
  }
}

function pairsOf({ userProperties = {} }: NonNullable<IPublishPacket['properties']>): [string, string][] {
  return Object.entries(userProperties).flatMap(([name, values]) =>
    [values].flat().map((value): [string, string] => [name, value]),
  )
}

function jsonOf(
  { topic, payload, packet }: Received,
  at: Date,
  { isRaw, isPretty }: { readonly isRaw: boolean; readonly isPretty: boolean },
): string | undefined {
  const told = payloadOf(payload, isRaw)
  if (told === undefined) return undefined
  const micros = `${nanoseconds(at.getTime()).slice(0, 6)}`
  const value = {
    tst: `${formatTimeConversion('F', at)}T${formatTimeConversion('T', at)}.${micros}Z${formatTimeConversion('z', at)}`,
    topic,
    qos: packet.qos,
    retain: packet.retain ? 1 : 0,
    payloadlen: payload.length,
    ...(packet.qos > 0 ? { mid: packet.messageId } : {}),
    ...(packet.properties ? { properties: jsonProperties(packet.properties) } : {}),
    payload: told.value,
  }
  return isPretty ? prettyJson(value, '') : JSON.stringify(value)
}

/** Undefined: it should be JSON and is not. */
function payloadOf(payload: Buffer, isRaw: boolean): { readonly value: unknown } | undefined {
  if (payload.length === 0) return { value: null }
  const text = payload.toString('utf8')
  if (!isRaw) return { value: Buffer.from(text).equals(payload) ? text : [...payload] }
  try {
    return { value: JSON.parse(text) as unknown }
  } catch {
    return undefined
  }
}

const NAMES: readonly (readonly [name: string, property: string])[] = [
  ['payload-format-indicator', 'payloadFormatIndicator'],
  ['message-expiry-interval', 'messageExpiryInterval'],
  ['content-type', 'contentType'],
  ['response-topic', 'responseTopic'],
  ['correlation-data', 'correlationData'],
  ['subscription-identifier', 'subscriptionIdentifier'],
  ['topic-alias', 'topicAlias'],
]
function jsonProperties(properties: NonNullable<IPublishPacket['properties']>): Record<string, unknown> {
  const values = properties as Readonly<Record<string, unknown>>
  const told: Record<string, unknown> = {}
  for (const [name, property] of NAMES) {
    const value = values[property]
    if (value !== undefined)
      told[name] = Buffer.isBuffer(value) ? value.toString('utf8') : typeof value === 'boolean' ? Number(value) : value
  }
  const pairs = pairsOf(properties)
  if (pairs.length > 0) told['user-properties'] = Object.fromEntries(pairs)
  return told
}

/** As cJSON prints: tabs, and arrays in one line. */
function prettyJson(value: unknown, indent: string): string {
  if (Array.isArray(value)) return `[${value.map((one) => prettyJson(one, indent)).join(', ')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const inner = `${indent}\t`
  const lines = Object.entries(value).map(
    ([name, one]) => `${inner}${JSON.stringify(name)}:\t${prettyJson(one, inner)}`,
  )
  return lines.length === 0 ? '{}' : `{\n${lines.join(',\n')}\n${indent}}`
}
