/**
 * The control packets of MQTT 3.1.1 and 5.0 as plain data; names are those of MQTT 5.0 §3. Bytes are views of what was
 * received, not copies.
 */

export type Properties = {
  readonly payloadFormat?: number | undefined
  readonly messageExpirySec?: number | undefined
  readonly contentType?: string | undefined
  readonly responseTopic?: string | undefined
  readonly correlationData?: Uint8Array | undefined
  readonly subscriptionIds?: readonly number[] | undefined
  /** 0xffffffff = never. */
  readonly sessionExpirySec?: number | undefined
  readonly assignedClientId?: string | undefined
  readonly serverKeepAliveSec?: number | undefined
  readonly authenticationMethod?: string | undefined
  readonly authenticationData?: Uint8Array | undefined
  readonly requestProblemInformation?: number | undefined
  readonly willDelaySec?: number | undefined
  readonly requestResponseInformation?: number | undefined
  readonly responseInformation?: string | undefined
  readonly serverReference?: string | undefined
  readonly reasonString?: string | undefined
  readonly receiveMaximum?: number | undefined
  readonly topicAliasMaximum?: number | undefined
  readonly topicAlias?: number | undefined
  readonly maximumQos?: number | undefined
  readonly retainAvailable?: number | undefined
  readonly userProperties?: readonly (readonly [string, string])[] | undefined
  readonly maximumPacketBytes?: number | undefined
  readonly wildcardSubscriptionAvailable?: number | undefined
  readonly subscriptionIdAvailable?: number | undefined
  readonly sharedSubscriptionAvailable?: number | undefined
}

/** Protocol level of CONNECT: 4 is MQTT 3.1.1, 5 is MQTT 5.0. */
export type Version = 4 | 5
export type Qos = 0 | 1 | 2

export type Will = {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: Qos
  readonly retain: boolean
  /** Will properties that are to be forwarded, encoded (§3.1.3.2 without delay and expiry). */
  readonly properties: Uint8Array
  readonly delaySec: number
  readonly messageExpirySec: number | undefined
}

export type Connect = {
  readonly type: 'connect'
  readonly version: Version
  readonly cleanStart: boolean
  readonly keepAliveSec: number
  readonly clientId: string
  readonly username: string | undefined
  readonly password: Uint8Array | undefined
  readonly will: Will | undefined
  readonly properties: Properties
  /**
   * It says that it is a bridge: it keeps RETAIN as published and gets nothing back that it sent, which 3.1.1 cannot ask
   * for otherwise.
   */
  readonly isBridge?: boolean
  /** MQTT 3.1: like 3.1.1, without Session Present, with short client ids, and with no answer that says no. */
  readonly is31?: boolean
}
/** A CONNECT of a protocol or level that is not spoken here; nothing after the level was read (§3.1.2.2). */
export type UnsupportedConnect = { readonly type: 'unsupported-connect'; readonly level: number }
/** `reason`: a return code of 3.1.1 or a reason code of 5.0. */
export type Connack = {
  readonly type: 'connack'
  readonly sessionPresent: boolean
  readonly reason: number
  readonly properties: Properties
}

export type Publish = {
  readonly type: 'publish'
  /** Empty when `topicAlias` stands for it. */
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: Qos
  readonly retain: boolean
  readonly dup: boolean
  /** 0 with QoS 0. */
  readonly packetId: number
  /**
   * Properties that are forwarded unaltered, encoded without their length: all but message expiry, topic alias and
   * subscription ids.
   */
  readonly properties: Uint8Array
  readonly messageExpirySec: number | undefined
  /** 0 = none. */
  readonly topicAlias: number
  readonly subscriptionIds: readonly number[]
  /** It was larger than allowed, and what was behind its head was passed over (ParserOptions.large). */
  readonly oversizedBytes?: number
}
export type AckType = 'puback' | 'pubrec' | 'pubrel' | 'pubcomp'
/** `reason` is 0 and `properties` empty with 3.1.1. */
export type Ack = {
  readonly type: AckType
  readonly packetId: number
  readonly reason: number
  readonly properties: Properties
}

export type SubscriptionRequest = {
  readonly filter: string
  readonly qos: Qos
  readonly noLocal: boolean
  readonly retainAsPublished: boolean
  readonly retainHandling: 0 | 1 | 2
}
export type Subscribe = {
  readonly type: 'subscribe'
  readonly packetId: number
  readonly subscriptions: readonly SubscriptionRequest[]
  readonly properties: Properties
}
export type Suback = {
  readonly type: 'suback'
  readonly packetId: number
  readonly reasons: readonly number[]
  readonly properties: Properties
}
export type Unsubscribe = {
  readonly type: 'unsubscribe'
  readonly packetId: number
  readonly filters: readonly string[]
  readonly properties: Properties
}
/** `reasons` is empty with 3.1.1, which does not tell. */
export type Unsuback = {
  readonly type: 'unsuback'
  readonly packetId: number
  readonly reasons: readonly number[]
  readonly properties: Properties
}
export type Pingreq = { readonly type: 'pingreq' }
export type Pingresp = { readonly type: 'pingresp' }
export type Disconnect = { readonly type: 'disconnect'; readonly reason: number; readonly properties: Properties }
export type Auth = { readonly type: 'auth'; readonly reason: number; readonly properties: Properties }

export type Packet =
  | Connect
  | UnsupportedConnect
  | Connack
  | Publish
  | Ack
  | Subscribe
  | Suback
  | Unsubscribe
  | Unsuback
  | Pingreq
  | Pingresp
  | Disconnect
  | Auth

/** Packet type numbers of the fixed header (§2.1.2), already in the upper four bits. */
export const TYPE = {
  connect: 0x10,
  connack: 0x20,
  publish: 0x30,
  puback: 0x40,
  pubrec: 0x50,
  pubrel: 0x60,
  pubcomp: 0x70,
  subscribe: 0x80,
  suback: 0x90,
  unsubscribe: 0xa0,
  unsuback: 0xb0,
  pingreq: 0xc0,
  pingresp: 0xd0,
  disconnect: 0xe0,
  auth: 0xf0,
} as const

/** Flags of PUBLISH's fixed header (§3.3.1); QoS lies between them. */
export const DUP = 8
export const RETAIN = 1
export function publishFlags(qos: Qos, others: number): number {
  return (qos << 1) | others
}

export const NO_BYTES: Uint8Array = Buffer.alloc(0)
export const NO_IDS: readonly number[] = []
/** Largest Variable Byte Integer, so also the largest Remaining Length (§1.5.5). */
export const MAX_VAR_INT = 268_435_455
