import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { MeshError } from '../../core/errors.ts'
import { encode } from '../../protocols/mqtt/codec/encode.ts'
import type { Packet, Properties, Qos, Version } from '../../protocols/mqtt/codec/packet.ts'
import { PacketParser } from '../../protocols/mqtt/codec/parser.ts'
import { decodeForwarded, encodeProperties } from '../../protocols/mqtt/codec/properties.ts'

const RUNS = { numRuns: 1_500, seed: 20_260 }
const MAX_PACKET_BYTES = 4_096

function parseInPieces(
  bytes: Uint8Array,
  cuts: readonly number[],
  side: 'server' | 'client',
  version: Version,
): Packet[] {
  const parser = new PacketParser({ maxPacketBytes: MAX_PACKET_BYTES, side, version })
  const at = [...new Set(cuts.map((c) => c % (bytes.length + 1)))].toSorted((a, b) => a - b)
  const out: Packet[] = []
  let from = 0
  for (const to of [...at, bytes.length]) {
    parser.push(Buffer.from(bytes.subarray(from, to)))
    for (let packet = parser.next(); packet; packet = parser.next()) out.push(packet)
    from = to
  }
  return out
}

const cuts = fc.array(fc.nat(5_000), { maxLength: 6 })
const side = fc.constantFrom('server' as const, 'client' as const)
const version = fc.constantFrom<Version>(4, 5)
const onlyMeshError = (work: () => void): void => {
  try {
    work()
  } catch (err) {
    assert.ok(err instanceof MeshError, String(err))
    assert.ok(err.code === 'MESH_MQTT_PROTOCOL' || err.code === 'MESH_MQTT_PACKET_TOO_LARGE', err.code)
  }
}

test('any bytes, cut anywhere: packets or a MeshError, nothing else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), cuts, side, version, (bytes, at, s, v) =>
      onlyMeshError(() => parseInPieces(bytes, at, s, v)),
    ),
    RUNS,
  )
})
test('bytes that begin like a packet of each type, with any body', () => {
  const framed = fc
    .tuple(fc.integer({ min: 1, max: 15 }), fc.constantFrom(0, 1, 2, 4, 8), fc.uint8Array({ maxLength: 100 }))
    .map(([type, flags, body]) => Uint8Array.of((type << 4) | flags, body.length, ...body))
  fc.assert(
    fc.property(fc.array(framed, { maxLength: 5 }), cuts, side, version, (frames, at, s, v) =>
      onlyMeshError(() => parseInPieces(Buffer.concat(frames), at, s, v)),
    ),
    RUNS,
  )
})

const text = fc.string({ unit: 'grapheme', maxLength: 20 }).filter((s) => !s.includes('\0') && s.isWellFormed())
const topic = text.map((s) => s.replaceAll(/[+#]/g, '_') || 't')
const bytes = fc.uint8Array({ maxLength: 60 }).map((b) => Buffer.from(b))
const id = fc.integer({ min: 1, max: 65_535 })
const qos = fc.constantFrom<Qos>(0, 1, 2)
const optional = <T>(of: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(of, { nil: undefined })
const pairs = fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 3 })
const messageProperties = fc.record(
  {
    payloadFormat: fc.constantFrom(0, 1),
    contentType: text,
    responseTopic: topic,
    correlationData: bytes,
    userProperties: pairs,
  },
  { requiredKeys: [] },
) as fc.Arbitrary<Properties>
const answerProperties = fc.record(
  { reasonString: text, userProperties: pairs },
  { requiredKeys: [] },
) as fc.Arbitrary<Properties>
const forwarded = messageProperties.map((p) => Buffer.from(encodeProperties(p)))
const expiry = optional(fc.nat(0xffff_ffff))

/** Packets of MQTT 5 that a server may get. */
const packet: fc.Arbitrary<Packet> = fc.oneof(
  fc
    .record({
      type: fc.constant('publish' as const),
      topic,
      payload: bytes,
      qos,
      retain: fc.boolean(),
      dup: fc.boolean(),
      packetId: id,
      properties: forwarded,
      messageExpirySec: expiry,
      topicAlias: fc.nat(65_535),
      subscriptionIds: fc.constant([]),
    })
    .map((p) => (p.qos === 0 ? { ...p, dup: false, packetId: 0 } : p)),
  fc.record({
    type: fc.constantFrom('puback' as const, 'pubrec' as const),
    packetId: id,
    reason: fc.constantFrom(0, 0x10, 0x83, 0x97),
    properties: answerProperties,
  }),
  fc.record({
    type: fc.constantFrom('pubrel' as const, 'pubcomp' as const),
    packetId: id,
    reason: fc.constantFrom(0, 0x92),
    properties: answerProperties,
  }),
  fc.record({
    type: fc.constant('subscribe' as const),
    packetId: id,
    properties: fc.record(
      { subscriptionIds: fc.integer({ min: 1, max: 268_435_455 }).map((n) => [n]), userProperties: pairs },
      { requiredKeys: [] },
    ) as fc.Arbitrary<Properties>,
    subscriptions: fc.array(
      fc.record({
        filter: topic,
        qos,
        noLocal: fc.boolean(),
        retainAsPublished: fc.boolean(),
        retainHandling: fc.constantFrom(0 as const, 1 as const, 2 as const),
      }),
      { minLength: 1, maxLength: 4 },
    ),
  }),
  fc.record({
    type: fc.constant('unsubscribe' as const),
    packetId: id,
    filters: fc.array(topic, { minLength: 1, maxLength: 4 }),
    properties: fc.record({ userProperties: pairs }, { requiredKeys: [] }) as fc.Arbitrary<Properties>,
  }),
  fc.record({
    type: fc.constant('disconnect' as const),
    reason: fc.constantFrom(0, 4, 0x81),
    properties: answerProperties,
  }),
  fc.record({
    type: fc.constant('auth' as const),
    reason: fc.constantFrom(0, 0x18, 0x19),
    properties: fc.record(
      { authenticationMethod: text, authenticationData: bytes, reasonString: text },
      { requiredKeys: [] },
    ) as fc.Arbitrary<Properties>,
  }),
  fc.record({
    type: fc.constant('connect' as const),
    version: fc.constant<Version>(5),
    cleanStart: fc.boolean(),
    keepAliveSec: fc.nat(65_535),
    clientId: text,
    username: optional(text),
    password: optional(bytes),
    will: optional(
      fc.record({
        topic,
        payload: bytes,
        qos,
        retain: fc.boolean(),
        properties: forwarded,
        delaySec: fc.nat(0xffff_ffff),
        messageExpirySec: expiry,
      }),
    ),
    properties: fc.record(
      {
        sessionExpirySec: fc.nat(0xffff_ffff),
        receiveMaximum: id,
        maximumPacketBytes: fc.integer({ min: 1, max: 0xffff_ffff }),
        topicAliasMaximum: fc.nat(65_535),
        requestProblemInformation: fc.constantFrom(0, 1),
        userProperties: pairs,
      },
      { requiredKeys: [] },
    ) as fc.Arbitrary<Properties>,
  }),
  fc.constant<Packet>({ type: 'pingreq' }),
)
const plain = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value, (_, v: unknown) => (v instanceof Uint8Array ? Buffer.from(v).toString('hex') : v)))
/** A Buffer has toJSON, which runs before a replacer: turned to hex first. */
const comparable = (value: unknown): unknown => plain(hexed(value))
function hexed(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  if (Array.isArray(value)) return value.map(hexed)
  if (value !== null && typeof value === 'object')
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, hexed(v)]))
  return value
}

test('what is encoded is what is parsed, however it is cut', () => {
  fc.assert(
    fc.property(fc.array(packet, { minLength: 1, maxLength: 4 }), cuts, (packets, at) => {
      const parsed = parseInPieces(Buffer.concat(packets.map((p) => encode(p, 5))), at, 'server', 5)
      assert.deepEqual(comparable(parsed), comparable(packets))
    }),
    RUNS,
  )
})
test('one flipped byte in good packets: packets or a MeshError, nothing else', () => {
  fc.assert(
    fc.property(packet, fc.nat(4_096), fc.nat(255), cuts, (p, where, value, at) => {
      const encoded = encode(p, 5)
      encoded[where % encoded.length] = value
      onlyMeshError(() => parseInPieces(encoded, at, 'server', 5))
    }),
    RUNS,
  )
})
test('forwarded properties read back as what was encoded', () => {
  fc.assert(
    fc.property(messageProperties, (p) =>
      assert.deepEqual(comparable(decodeForwarded(encodeProperties(p))), comparable(p)),
    ),
    RUNS,
  )
})
