import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Reader } from '../../../../protocols/mqtt/codec/bytes.ts'
import { encodeProperties, readProperties, type Place } from '../../../../protocols/mqtt/codec/properties.ts'

function read(hex: string, place: Place): ReturnType<typeof readProperties> {
  const body = Buffer.from(hex.replaceAll(' ', ''), 'hex')
  const buf = Buffer.concat([Buffer.of(body.length), body])
  return readProperties(new Reader().reset(buf, 0, buf.length), place)
}

test('every kind is read as its identifier says (MQTT 5.0 §2.2.2.2)', () => {
  const connect = read('11 0000000a 21 0009 22 0003 27 00000400 17 01 15 0001 6d 16 0002 0001', 'connect').properties
  assert.deepEqual(
    { ...connect, authenticationData: Buffer.from(connect.authenticationData!).toString('hex') },
    {
      sessionExpirySec: 10,
      receiveMaximum: 9,
      topicAliasMaximum: 3,
      maximumPacketBytes: 1024,
      requestProblemInformation: 1,
      authenticationMethod: 'm',
      authenticationData: '0001',
    },
  )
  assert.deepEqual(read('26 0001 6b 0001 76 26 0001 6b 0001 77', 'subscribe').properties.userProperties, [
    ['k', 'v'],
    ['k', 'w'],
  ])
  assert.deepEqual(read('0b 8001 0b 02', 'publish').properties.subscriptionIds, [128, 2])
})

for (const [name, hex, place] of [
  ['a flag that is 2', '01 02', 'publish'],
  ['Receive Maximum 0', '21 0000', 'connect'],
  ['Maximum Packet Size 0', '27 00000000', 'connect'],
  ['Subscription Identifier 0', '0b 00', 'subscribe'],
  ['two Subscription Identifiers in SUBSCRIBE', '0b 01 0b 02', 'subscribe'],
  ['Will Delay outside a will', '18 00000001', 'publish'],
  ['an identifier that nobody has defined', '04 00', 'publish'],
  ['a value that goes beyond the properties', '02 0000', 'publish'],
] as const)
  test(`refused: ${name}`, () => assert.throws(() => read(hex, place), { code: 'MESH_MQTT_PROTOCOL' }))

test('of a message what belongs to one hop is left out of what is passed on, and the rest keeps its bytes', () => {
  const { forwarded } = read('01 01 02 0000000a 03 0001 63 23 0005 0b 07 26 0001 6b 0001 76', 'publish')
  assert.equal(Buffer.from(forwarded).toString('hex'), '010103000163260001' + '6b000176')
  assert.equal(read('21 0009', 'connect').forwarded.length, 0)
})

test('encodeProperties writes what readProperties reads', () => {
  const properties = {
    payloadFormat: 1,
    contentType: 'json',
    responseTopic: 'r',
    userProperties: [['k', 'v']],
  } as const
  const hex = Buffer.from(encodeProperties(properties)).toString('hex')
  assert.deepEqual(read(hex, 'publish').properties, properties)
})
