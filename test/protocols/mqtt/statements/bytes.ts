/**
 * Packets as hex, written from the standards alone: nothing of protocols/mqtt/codec, or a fault there would cancel
 * itself. `..` stands for any byte. Lengths are counted here; everything else is said.
 */

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const tidy = (hex: string): string => hex.replaceAll(/\s+/g, '')
export const u8 = (value: number): string => value.toString(16).padStart(2, '0')
export const u16 = (value: number): string => value.toString(16).padStart(4, '0')
export const u32 = (value: number): string => value.toString(16).padStart(8, '0')
export const text = (value: string): string => hexOf(Buffer.from(value))
/** With its length in front: a UTF-8 string, or Binary Data. */
export const str = (value: string): string => u16(Buffer.byteLength(value)) + text(value)
export const bin = (hex: string): string => u16(tidy(hex).length / 2) + tidy(hex)
export const varInt = (value: number): string =>
  value < 128 ? u8(value) : u8((value % 128) | 0x80) + varInt(Math.floor(value / 128))
/** A whole packet: the first byte, the Remaining Length, and what it counts. */
export const packet = (first: number, ...fields: readonly string[]): string => {
  const body = tidy(fields.join(''))
  return u8(first) + varInt(body.length / 2) + body
}
/** Property Length and properties. */
export const props = (...properties: readonly string[]): string => {
  const body = tidy(properties.join(''))
  return varInt(body.length / 2) + body
}

/** MQTT 5.0 §2.2.2.2. */
export const P = {
  payloadFormat: (value: number) => `01${u8(value)}`,
  messageExpiry: (sec: number) => `02${u32(sec)}`,
  contentType: (value: string) => `03${str(value)}`,
  responseTopic: (value: string) => `08${str(value)}`,
  correlation: (hex: string) => `09${bin(hex)}`,
  subscriptionId: (id: number) => `0b${varInt(id)}`,
  sessionExpiry: (sec: number) => `11${u32(sec)}`,
  assignedClientId: (hex: string) => `12${bin(hex)}`,
  serverKeepAlive: (sec: number) => `13${u16(sec)}`,
  method: (value: string) => `15${str(value)}`,
  data: (hex: string) => `16${bin(hex)}`,
  problemInformation: (value: number) => `17${u8(value)}`,
  willDelay: (sec: number) => `18${u32(sec)}`,
  responseInformation: (value: number) => `19${u8(value)}`,
  reasonString: (value: string) => `1f${str(value)}`,
  receiveMaximum: (value: number) => `21${u16(value)}`,
  topicAliasMaximum: (value: number) => `22${u16(value)}`,
  topicAlias: (value: number) => `23${u16(value)}`,
  maximumQos: (value: number) => `24${u8(value)}`,
  retainAvailable: (value: number) => `25${u8(value)}`,
  user: (name: string, value: string) => `26${str(name)}${str(value)}`,
  maximumPacketSize: (value: number) => `27${u32(value)}`,
} as const

export type Will = {
  readonly topic: string
  readonly payload: string
  readonly qos?: number
  readonly retain?: boolean
  readonly props?: readonly string[]
}
export type Connect = {
  /** Clean Start, or Clean Session. Default: yes. */
  readonly clean?: boolean
  readonly keepAlive?: number
  readonly will?: Will
  readonly user?: string
  readonly password?: string
  readonly props?: readonly string[]
}
export type Publish = {
  readonly qos?: number
  readonly id?: number
  readonly dup?: boolean
  readonly retain?: boolean
  readonly props?: readonly string[]
}
type Ack = 0x40 | 0x50 | 0x62 | 0x70

/** What the broker of the rows announces: 32 aliases, packets of 1 MiB. */
export const ANNOUNCED = [P.topicAliasMaximum(32), P.maximumPacketSize(1024 * 1024)]

/** How packets look in one version. */
export class Dialect {
  readonly level: 3 | 4 | 5
  constructor(level: 3 | 4 | 5) {
    this.level = level
  }
  get is5(): boolean {
    return this.level === 5
  }
  /** Of 5.0 alone. */
  #props(list: readonly string[] = []): string {
    return this.is5 ? props(...list) : ''
  }
  /** What differs between the two. */
  either<T>(of5: T, of3: T): T {
    return this.is5 ? of5 : of3
  }

  connect(clientId: string, p: Connect = {}): string {
    const { will } = p
    const flags =
      (p.clean === false ? 0 : 2) |
      (will ? 4 | ((will.qos ?? 0) << 3) | (will.retain ? 0x20 : 0) : 0) |
      (p.password === undefined ? 0 : 0x40) |
      (p.user === undefined ? 0 : 0x80)
    return packet(
      0x10,
      str(this.level === 3 ? 'MQIsdp' : 'MQTT'),
      u8(this.level),
      u8(flags),
      u16(p.keepAlive ?? 0),
      this.#props(p.props),
      str(clientId),
      will ? this.#props(will.props) + str(will.topic) + str(will.payload) : '',
      p.user === undefined ? '' : str(p.user),
      p.password === undefined ? '' : str(p.password),
    )
  }
  connack(p: { present?: boolean; reason?: number; props?: readonly string[] } = {}): string {
    const said = p.props ?? ((p.reason ?? 0) === 0 ? ANNOUNCED : [])
    return packet(0x20, p.present ? '01' : '00', u8(p.reason ?? 0), this.#props(said))
  }
  publish(topic: string, payload: string, p: Publish = {}): string {
    return packet(
      0x30 | (p.dup ? 8 : 0) | ((p.qos ?? 0) << 1) | (p.retain ? 1 : 0),
      str(topic),
      (p.qos ?? 0) > 0 ? u16(p.id ?? 1) : '',
      this.#props(p.props),
      text(payload),
    )
  }
  #ack(first: Ack, id: number, reason: number): string {
    return packet(first, u16(id), this.is5 && reason > 0 ? u8(reason) : '')
  }
  puback(id: number, reason = 0): string {
    return this.#ack(0x40, id, reason)
  }
  pubrec(id: number, reason = 0): string {
    return this.#ack(0x50, id, reason)
  }
  pubrel(id: number, reason = 0): string {
    return this.#ack(0x62, id, reason)
  }
  pubcomp(id: number, reason = 0): string {
    return this.#ack(0x70, id, reason)
  }
  /** @param filters each with its Subscription Options, of which 3.1.1 has the QoS alone */
  subscribe(id: number, filters: Readonly<Record<string, number>>, p: readonly string[] = []): string {
    const list = Object.entries(filters).map(([filter, options]) => str(filter) + u8(options))
    return packet(0x82, u16(id), this.#props(p), ...list)
  }
  suback(id: number, ...reasons: readonly number[]): string {
    return packet(0x90, u16(id), this.#props(), ...reasons.map(u8))
  }
  unsubscribe(id: number, ...filters: readonly string[]): string {
    return packet(0xa2, u16(id), this.#props(), ...filters.map(str))
  }
  /** 3.1.1 has no reason codes here. */
  unsuback(id: number, ...reasons: readonly number[]): string {
    return packet(0xb0, u16(id), this.is5 ? props() + reasons.map(u8).join('') : '')
  }
  disconnect(reason = 0, p?: readonly string[]): string {
    if (!this.is5 || (reason === 0 && !p)) return 'e000'
    return packet(0xe0, u8(reason), p ? props(...p) : '')
  }
  auth(reason: number, ...p: readonly string[]): string {
    return packet(0xf0, u8(reason), props(...p))
  }
}
export const PINGREQ = 'c000'
export const PINGRESP = 'd000'
export const V5 = new Dialect(5)
export const V311 = new Dialect(4)
export const V31 = new Dialect(3)
