/**
 * MQTT 5 properties (MQTT 5.0 §2.2.2): which identifier has which type, where it may stand and how often. One table
 * serves both directions. A message's own properties can be kept as bytes, because a broker passes them on unaltered
 * [MQTT-3.3.2-4, -15, -16, -17, -18, -20].
 */
import { REASON, createViolation } from './reason.ts'
import { Reader, Writer } from './bytes.ts'
import { NO_BYTES, type Properties } from './packet.ts'

export const NO_PROPERTIES: Properties = Object.freeze({})

/** Where properties stand; `will` are those of CONNECT's payload. */
export type Place =
  | 'connect'
  | 'connack'
  | 'publish'
  | 'will'
  | 'puback'
  | 'pubrec'
  | 'pubrel'
  | 'pubcomp'
  | 'subscribe'
  | 'suback'
  | 'unsubscribe'
  | 'unsuback'
  | 'disconnect'
  | 'auth'

type Kind = 'flag' | 'u16' | 'u32' | 'nonzero16' | 'nonzero32' | 'string' | 'topic' | 'binary' | 'ids' | 'pairs'
type Row = {
  readonly id: number
  readonly name: keyof Properties
  readonly kind: Kind
  readonly in: ReadonlySet<Place>
}

const MESSAGE: readonly Place[] = ['publish', 'will']
const ANSWERS: readonly Place[] = [
  'connack',
  'puback',
  'pubrec',
  'pubrel',
  'pubcomp',
  'suback',
  'unsuback',
  'disconnect',
  'auth',
]
const ALL: readonly Place[] = [...MESSAGE, ...ANSWERS, 'connect', 'subscribe', 'unsubscribe']
const row = (id: number, name: keyof Properties, kind: Kind, places: readonly Place[]): Row => ({
  id,
  name,
  kind,
  in: new Set(places),
})

const ROWS: readonly Row[] = [
  row(0x01, 'payloadFormat', 'flag', MESSAGE),
  row(0x02, 'messageExpirySec', 'u32', MESSAGE),
  row(0x03, 'contentType', 'string', MESSAGE),
  row(0x08, 'responseTopic', 'topic', MESSAGE),
  row(0x09, 'correlationData', 'binary', MESSAGE),
  row(0x0b, 'subscriptionIds', 'ids', ['publish', 'subscribe']),
  row(0x11, 'sessionExpirySec', 'u32', ['connect', 'connack', 'disconnect']),
  row(0x12, 'assignedClientId', 'string', ['connack']),
  row(0x13, 'serverKeepAliveSec', 'u16', ['connack']),
  row(0x15, 'authenticationMethod', 'string', ['connect', 'connack', 'auth']),
  row(0x16, 'authenticationData', 'binary', ['connect', 'connack', 'auth']),
  row(0x17, 'requestProblemInformation', 'flag', ['connect']),
  row(0x18, 'willDelaySec', 'u32', ['will']),
  row(0x19, 'requestResponseInformation', 'flag', ['connect']),
  row(0x1a, 'responseInformation', 'string', ['connack']),
  row(0x1c, 'serverReference', 'string', ['connack', 'disconnect']),
  row(0x1f, 'reasonString', 'string', ANSWERS),
  row(0x21, 'receiveMaximum', 'nonzero16', ['connect', 'connack']),
  row(0x22, 'topicAliasMaximum', 'u16', ['connect', 'connack']),
  row(0x23, 'topicAlias', 'u16', ['publish']),
  row(0x24, 'maximumQos', 'flag', ['connack']),
  row(0x25, 'retainAvailable', 'flag', ['connack']),
  row(0x26, 'userProperties', 'pairs', ALL),
  row(0x27, 'maximumPacketBytes', 'nonzero32', ['connect', 'connack']),
  row(0x28, 'wildcardSubscriptionAvailable', 'flag', ['connack']),
  row(0x29, 'subscriptionIdAvailable', 'flag', ['connack']),
  row(0x2a, 'sharedSubscriptionAvailable', 'flag', ['connack']),
]
const BY_ID: readonly (Row | undefined)[] = Array.from({ length: 0x2b }, (_, id) => ROWS.find((r) => r.id === id))

/** What belongs to one hop and is written anew for the next. */
const PER_HOP: ReadonlySet<number> = new Set([0x02, 0x0b, 0x18, 0x23])

export type Decoded = {
  readonly properties: Properties
  /** Encoded, without those of PER_HOP. Empty unless asked for. */ readonly forwarded: Uint8Array
}
const NOTHING: Decoded = { properties: NO_PROPERTIES, forwarded: NO_BYTES }

/**
 * Reads length and properties.
 * @throws MESH_MQTT_PROTOCOL for one that is unknown, misplaced, repeated or out of range
 */
export function readProperties(r: Reader, place: Place): Decoded {
  const length = r.varInt()
  if (length === 0) return NOTHING
  const end = r.at + length
  if (end > r.end)
    throw createViolation(REASON.malformedPacket, 'the Property Length goes beyond the packet (MQTT 5.0 §2.2.2.1)')
  const whole = r.end
  const from = r.at
  r.end = end
  const decoded = readAll(r, place, from)
  r.end = whole
  return decoded
}

function readAll(r: Reader, place: Place, from: number): Decoded {
  const properties: Record<string, unknown> = {}
  const forwards = place === 'publish' || place === 'will'
  let kept: Uint8Array[] | undefined
  let keptFrom = from
  while (r.at < r.end) {
    const start = r.at
    const id = r.varInt()
    const known = BY_ID[id]
    if (!known || !known.in.has(place))
      throw createViolation(
        REASON.malformedPacket,
        `property 0x${id.toString(16)} does not belong in ${place.toUpperCase()} (MQTT 5.0 §2.2.2.2)`,
      )
    readOne(r, known, place, properties)
    if (!forwards || !PER_HOP.has(id)) continue
    kept ??= []
    if (start > keptFrom) kept.push(r.buf.subarray(keptFrom, start))
    keptFrom = r.at
  }
  if (!forwards) return { properties, forwarded: NO_BYTES }
  const rest = r.buf.subarray(keptFrom, r.end)
  return { properties, forwarded: kept === undefined || kept.length === 0 ? rest : Buffer.concat([...kept, rest]) }
}

function readOne(r: Reader, { name, kind, id }: Row, place: Place, into: Record<string, unknown>): void {
  const known = into[name]
  const list = kind === 'pairs' || (kind === 'ids' && place === 'publish')
  if (known !== undefined && !list)
    throw createViolation(
      REASON.protocolError,
      `property 0x${id.toString(16)} stands more than once (MQTT 5.0 §2.2.2.2)`,
    )
  if (kind === 'pairs') {
    const pair: readonly [string, string] = [r.string(), r.string()]
    if (known === undefined) into[name] = [pair]
    else (known as (readonly [string, string])[]).push(pair)
  } else if (kind === 'ids') {
    const subscriptionId = r.varInt()
    if (subscriptionId === 0)
      throw createViolation(REASON.protocolError, 'a Subscription Identifier is 0 (MQTT 5.0 §3.8.2.1.2)')
    if (known === undefined) into[name] = [subscriptionId]
    else (known as number[]).push(subscriptionId)
  } else into[name] = readScalar(r, kind, id)
}

function readScalar(r: Reader, kind: Exclude<Kind, 'pairs' | 'ids'>, id: number): unknown {
  switch (kind) {
    case 'flag':
      return checked(r.u8(), (v) => v <= 1, id)
    case 'u16':
      return r.u16()
    case 'u32':
      return r.u32()
    case 'nonzero16':
      return checked(r.u16(), (v) => v > 0, id)
    case 'nonzero32':
      return checked(r.u32(), (v) => v > 0, id)
    case 'string':
      return r.string()
    case 'topic': {
      const topic = r.string()
      if (topic === '') throw createViolation(REASON.protocolError, '[MQTT-4.7.3-1] a Response Topic is empty')
      if (/[+#]/.test(topic))
        throw createViolation(REASON.protocolError, '[MQTT-3.3.2-14] a Response Topic holds a wildcard')
      return topic
    }
    case 'binary':
      return r.binary()
    default:
      return kind satisfies never
  }
}

function checked(value: number, good: (value: number) => boolean, id: number): number {
  if (!good(value))
    throw createViolation(
      REASON.protocolError,
      `property 0x${id.toString(16)} has the value ${value} (MQTT 5.0 §2.2.2.2)`,
    )
  return value
}

/** Writes length and properties. `forwarded`: already encoded ones that go in unaltered. */
export function writeProperties(w: Writer, properties: Properties, forwarded: Uint8Array = NO_BYTES): void {
  const body = encodeProperties(properties)
  w.varInt(body.length + forwarded.length)
  w.raw(body)
  w.raw(forwarded)
}

/** Encoded without length, as StoredMessage.properties wants them. Undefined fields are left out. */
export function encodeProperties(properties: Properties): Uint8Array {
  if (properties === NO_PROPERTIES) return NO_BYTES
  const w = new Writer()
  for (const { id, name, kind } of ROWS) {
    const value = properties[name]
    if (value === undefined) continue
    for (const one of kind === 'ids' || kind === 'pairs' ? (value as readonly unknown[]) : [value]) {
      w.u8(id)
      writeOne(w, kind, one)
    }
  }
  return w.getBytes()
}

function writeOne(w: Writer, kind: Kind, value: unknown): void {
  switch (kind) {
    case 'flag':
      w.u8(value as number)
      return
    case 'u16':
    case 'nonzero16':
      w.u16(value as number)
      return
    case 'u32':
    case 'nonzero32':
      w.u32(value as number)
      return
    case 'string':
    case 'topic':
      w.string(value as string)
      return
    case 'binary':
      w.binary(value as Uint8Array)
      return
    case 'ids':
      w.varInt(value as number)
      return
    case 'pairs': {
      const [name, text] = value as readonly [string, string]
      w.string(name)
      w.string(text)
      return
    }
    default:
      kind satisfies never
  }
}

/** What a stored message's bytes say. @throws MESH_MQTT_PROTOCOL when they are not what an encoder wrote */
export function decodeForwarded(bytes: Uint8Array): Properties {
  if (bytes.length === 0) return NO_PROPERTIES
  const buf = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  return readAll(new Reader().reset(buf, 0, buf.length), 'publish', 0).properties
}
