/** `-D COMMAND IDENTIFIER [NAME] VALUE`: MQTT 5 properties, as mosquitto's clients take them. */
import { MeshError } from '../../../core/errors.ts'

/** The expiry that means never (MQTT 5.0 §3.1.2.11.2). */
export const FOREVER_SEC = 0xffff_ffff

/** As MQTT.js names them. */
export type PropertyValues = Record<string, unknown>
type Stage = 'connect' | 'publish' | 'subscribe' | 'unsubscribe' | 'disconnect' | 'will'
export type StageProperties = Readonly<Record<Stage, PropertyValues>>

type Kind = 'flag' | 'number' | 'text' | 'bytes' | 'pair'
const MAX: Readonly<Record<string, number>> = {
  receiveMaximum: 65_535,
  topicAliasMaximum: 65_535,
  topicAlias: 65_535,
  subscriptionIdentifier: 268_435_455,
}
type Known = readonly [name: string, kind: Kind, stages: readonly Stage[]]
const MESSAGE: readonly Stage[] = ['publish', 'will']
/** Identifiers as in MQTT 5.0 §2.2.2.2, with `-` between the words. */
const PROPERTIES: Readonly<Record<string, Known>> = {
  'authentication-data': ['authenticationData', 'bytes', ['connect']],
  'authentication-method': ['authenticationMethod', 'text', ['connect']],
  'maximum-packet-size': ['maximumPacketSize', 'number', ['connect']],
  'receive-maximum': ['receiveMaximum', 'number', ['connect']],
  'request-problem-information': ['requestProblemInformation', 'flag', ['connect']],
  'request-response-information': ['requestResponseInformation', 'flag', ['connect']],
  'session-expiry-interval': ['sessionExpiryInterval', 'number', ['connect', 'disconnect']],
  'topic-alias-maximum': ['topicAliasMaximum', 'number', ['connect']],
  'content-type': ['contentType', 'text', MESSAGE],
  'correlation-data': ['correlationData', 'bytes', MESSAGE],
  'message-expiry-interval': ['messageExpiryInterval', 'number', MESSAGE],
  'payload-format-indicator': ['payloadFormatIndicator', 'flag', MESSAGE],
  'response-topic': ['responseTopic', 'text', MESSAGE],
  'topic-alias': ['topicAlias', 'number', ['publish']],
  'will-delay-interval': ['willDelayInterval', 'number', ['will']],
  'subscription-identifier': ['subscriptionIdentifier', 'number', ['subscribe']],
  'user-property': ['userProperties', 'pair', ['connect', 'publish', 'subscribe', 'unsubscribe', 'disconnect', 'will']],
}

/** @throws MESH_CONFIG_INVALID */
export function parseProperties(words: readonly string[]): StageProperties {
  const found: StageProperties = {
    connect: {},
    publish: {},
    subscribe: {},
    unsubscribe: {},
    disconnect: {},
    will: {},
  }
  const left = [...words]
  const next = (what: string): string => left.shift() ?? wrong(`${what} is missing`)
  while (left.length > 0) {
    const stage = next('the command').toLowerCase()
    const identifier = next('the identifier')
    const [name, kind, stages] = PROPERTIES[identifier] ?? wrong(`there is no property "${identifier}"`)
    const into = found[stages.find((one) => one === stage) ?? wrong(`${identifier} is none of "${stage}"`)]
    if (kind === 'pair') addPair(into, next('the name'), next('the value'))
    else into[name] = valueOf(name, kind, next('the value'))
  }
  return found
}

function addPair(into: PropertyValues, name: string, value: string): void {
  const pairs = (into['userProperties'] ??= {}) as Record<string, string[]>
  ;(pairs[name] ??= []).push(value)
}

function valueOf(name: string, kind: Exclude<Kind, 'pair'>, text: string): unknown {
  if (kind === 'text') return text
  if (kind === 'bytes') return Buffer.from(text)
  const value = Number(text)
  const max = kind === 'flag' ? 1 : (MAX[name] ?? FOREVER_SEC)
  if (!/^\d+$/.test(text) || value > max) return wrong(`${name} must be 0 to ${max}, not "${text}"`)
  return kind === 'flag' ? value === 1 : value
}

function wrong(what: string): never {
  throw new MeshError('MESH_CONFIG_INVALID', `-D: ${what}`)
}
