/** What MQTT 3.1 (MQIsdp, level 3) has otherwise than 3.1.1. It has no numbered statements; the sections are named. */
import { packet, str, u8 } from '../bytes.ts'
import { breakOff, get, getNothing, kept, opened, type Row, seeEnd, send, server, subscribed } from '../row.ts'

const raw = (level: number, flags: number, ...payload: readonly string[]): string =>
  packet(0x10, str('MQIsdp'), u8(level), u8(flags), '0000', ...payload)
const DENIED = {
  policy: {
    rules: [
      { action: 'publish' as const, topics: ['no'], effect: 'deny' as const },
      { action: 'publish' as const, topics: ['#'], effect: 'allow' as const },
      { action: 'subscribe' as const, topics: ['no'], effect: 'deny' as const },
      { action: 'subscribe' as const, topics: ['#'], effect: 'allow' as const },
    ],
  },
}
const accepted =
  (hex: string): Row['talk'] =>
  (v) => [send('a', hex), get('a', v.connack())]
const identifierRejected =
  (hex: string): Row['talk'] =>
  (v) => [send('a', hex), get('a', v.connack({ reason: 2 })), seeEnd('a')]

export const MQTT31: readonly Row[] = [
  server({ v31: '3.1' }, 'MQIsdp of level 3 is accepted', (v) => opened(v, 'a')),
  server({ v31: '3.1' }, 'MQIsdp of another level is an unacceptable protocol version', (v) => [
    send('a', raw(4, 2, str('a'))),
    get('a', v.connack({ reason: 1 })),
    seeEnd('a'),
  ]),
  server({ v31: '3.1' }, 'a client id of 23 characters is accepted', accepted(raw(3, 2, str('x'.repeat(23))))),
  server({ v31: '3.1' }, 'characters are counted, not bytes', accepted(raw(3, 2, str('ä'.repeat(23))))),
  server({ v31: '3.1' }, 'one of 24 is rejected', identifierRejected(raw(3, 2, str('x'.repeat(24))))),
  server({ v31: '3.1' }, 'an empty one too, with Clean Session', identifierRejected(raw(3, 2, str('')))),
  server(
    { v31: '3.1' },
    'bridges as mosquitto’s (level 0x83) have longer names',
    accepted(raw(0x83, 2, str('x'.repeat(64)))),
  ),
  server({ v31: '3.1' }, 'a user name that is missing though its flag is set', accepted(raw(3, 0x82, str('a')))),
  server(
    { v31: '3.1' },
    'a password that is missing though its flag is set',
    accepted(raw(3, 0xc2, str('a'), str('user'))),
  ),
  server({ v31: '3.1' }, 'the flag of a password without a user name is disregarded', accepted(raw(3, 0x42, str('a')))),
  server({ v31: '3.1' }, 'Will QoS and Will Retain without a will are disregarded', accepted(raw(3, 0x3a, str('a')))),
  server({ v31: '3.1' }, 'the unused bit of the Connect Flags is disregarded', accepted(raw(3, 0x03, str('a')))),
  server({ v31: '3.2' }, 'CONNACK does not say that there is a session', (v) => [
    send('a', v.connect('a', kept(v)), v.subscribe(1, { t: 1 })),
    get('a', v.connack(), v.suback(1, 1)),
    breakOff('a'),
    ...opened(v, 'b'),
    send('b', v.publish('t', 'x', { qos: 1, id: 1 })),
    get('b', v.puback(1)),
    send('a2', v.connect('a', kept(v))),
    get('a2', v.connack({ present: false }), v.publish('t', 'x', { qos: 1, id: 1 })),
  ]),
  server(
    { v31: '3.3' },
    'what a client may not publish is acknowledged, and goes nowhere',
    (v) => [
      ...subscribed(v, 'b', { '#': 0 }),
      ...opened(v, 'a'),
      send('a', v.publish('no', 'x', { qos: 1, id: 1 }), v.publish('no', 'x', { qos: 2, id: 2 }), v.publish('no', 'x')),
      get('a', v.puback(1), v.pubrec(2)),
      send('a', v.pubrel(2)),
      get('a', v.pubcomp(2)),
      getNothing('b'),
    ],
    DENIED,
  ),
  server({ v31: '3.6' }, 'PUBREL may be repeated with DUP', (v) => [
    ...opened(v, 'a'),
    send('a', v.publish('t', 'x', { qos: 2, id: 1 })),
    get('a', v.pubrec(1)),
    send('a', v.pubrel(1), packet(0x6a, '0001')),
    get('a', v.pubcomp(1), v.pubcomp(1)),
  ]),
  server({ v31: '3.8' }, 'so may SUBSCRIBE and UNSUBSCRIBE', (v) => [
    ...opened(v, 'a'),
    send('a', packet(0x8a, '0001', str('t'), '00'), packet(0xaa, '0002', str('t'))),
    get('a', v.suback(1, 0), v.unsuback(2)),
  ]),
  server(
    { v31: '3.8' },
    'what a client may not subscribe to is granted in SUBACK, and nothing comes',
    (v) => [
      ...opened(v, 'a'),
      send('a', v.subscribe(1, { no: 2, yes: 1 })),
      get('a', v.suback(1, 2, 1)),
      ...opened(v, 'b'),
      send('b', v.publish('yes', 'x')),
      get('a', v.publish('yes', 'x')),
    ],
    DENIED,
  ),
]
