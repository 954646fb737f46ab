/** CONNECT: 5.0 and 3.1.1 §3.1. */
import { bin, type Dialect, P, packet, props, str, u16, u8, V311, V5 } from '../bytes.ts'
import {
  breakOff,
  client,
  get,
  getNothing,
  kept,
  meet,
  opened,
  type Row,
  seeEnd,
  send,
  server,
  type Step,
  subscribed,
  wait,
} from '../row.ts'
import { bridged, CONNECTED } from './bridge.ts'

/** A CONNECT of these flags and this payload. */
const raw = (v: Dialect, flags: number, ...payload: readonly string[]): string =>
  packet(0x10, str('MQTT'), u8(v.level), u8(flags), '0000', v.is5 ? props() : '', ...payload)
const NO_PROPS = (v: Dialect): string => (v.is5 ? props() : '')
/** Each is sent on a connection of its own, which ends without a word. */
const unanswered = (...connects: readonly string[]): readonly Step[] =>
  connects.flatMap((hex, i) => [send(`a${i}`, hex), seeEnd(`a${i}`)])
const ALL_LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'

export const CONNECTS: readonly Row[] = [
  server({ v5: '3.1.0-1', v3: '3.1.0-1' }, 'the first packet is another one', (v) =>
    unanswered(v.publish('t', 'x'), 'c000', v.subscribe(1, { t: 0 }), v.disconnect()),
  ),
  client({ v5: '3.1.0-1', v3: '3.1.0-1' }, 'the first packet is CONNECT, and nothing before CONNACK', (v) => [
    meet('up'),
    get('up', CONNECTED(v, v.either(5, 0x84))),
    getNothing('up'),
  ]),
  server({ v5: '3.1.0-2 3.2.0-2', v3: '3.1.0-2' }, 'a second CONNECT', (v) => [
    ...opened(v, 'a'),
    send('a', v.connect('a')),
    ...(v.is5 ? [get('a', v.disconnect(0x82))] : []),
    seeEnd('a'),
  ]),
  server({ v5: '3.1.2-1', v3: '3.1.2-1' }, 'another protocol name', (v) => [
    send('a', packet(0x10, str('MQTX'), u8(v.level), '02 0000', NO_PROPS(v), str('a'))),
    get('a', V311.connack({ reason: 1 })),
    seeEnd('a'),
  ]),
  server({ v5: '3.1.2-2' }, 'a protocol version above 5', () => [
    send('a', packet(0x10, str('MQTT'), '06 02 0000 00', str('a'))),
    get('a', V5.connack({ reason: 0x84 })),
    seeEnd('a'),
  ]),
  server({ v5: '3.1.2-2', v3: '3.1.2-2' }, 'a protocol level below 4', () => [
    send('a', packet(0x10, str('MQTT'), '02 02 0000', str('a'))),
    get('a', V311.connack({ reason: 1 })),
    seeEnd('a'),
  ]),
  server({ v5: '3.1.2-3', v3: '3.1.2-3' }, 'the reserved bit of the Connect Flags', (v) =>
    unanswered(raw(v, 0x03, str('a'))),
  ),
  server(
    { v5: '3.1.2-4 3.1.4-4 3.2.2-2', v3: '3.1.2-6 3.1.4-3 3.2.2-1' },
    'a clean start discards the session',
    (v) => [
      send('a', v.connect('a', kept(v))),
      get('a', v.connack()),
      send('a', v.subscribe(1, { t: 1 })),
      get('a', v.suback(1, 1)),
      breakOff('a'),
      ...opened(v, 'b'),
      send('b', v.publish('t', 'x', { qos: 1, id: 1 })),
      get('b', v.puback(1)),
      send('a2', v.connect('a')),
      get('a2', v.connack({ present: false })),
      send('b', v.publish('t', 'y', { qos: 1, id: 2 })),
      get('b', v.puback(2)),
      getNothing('a2'),
    ],
  ),
  server(
    { v5: '3.1.2-4', v3: '3.1.2-6' },
    'a session that ends with its connection is not there for the next one',
    (v) => [
      ...subscribed(v, 'a', { t: 1 }),
      breakOff('a'),
      send('a2', v.connect('a', kept(v))),
      get('a2', v.connack({ present: false })),
    ],
  ),
  server(
    { v5: '3.1.2-5 3.1.2-23 3.1.4-4 3.2.2-3 4.1.0-1', v3: '3.1.2-4 3.1.2-5 3.1.4-3 3.2.2-2 4.1.0-1' },
    'a kept session is resumed with its subscriptions and what came meanwhile',
    (v) => [
      send('a', v.connect('a', kept(v))),
      get('a', v.connack()),
      send('a', v.subscribe(1, { t: 2 })),
      get('a', v.suback(1, 2)),
      breakOff('a'),
      ...opened(v, 'b'),
      send('b', v.publish('t', 'x', { qos: 1, id: 1 }), v.publish('t', 'y', { qos: 2, id: 2 })),
      get('b', v.puback(1), v.pubrec(2)),
      send('a2', v.connect('a', kept(v))),
      get(
        'a2',
        v.connack({ present: true }),
        v.publish('t', 'x', { qos: 1, id: 1 }),
        v.publish('t', 'y', { qos: 2, id: 2 }),
      ),
    ],
  ),
  server({ v5: '3.1.2-6 3.2.2-3', v3: '3.1.2-4 3.2.2-3' }, 'without a session there is a new one', (v) => [
    send('a', v.connect('a', kept(v))),
    get('a', v.connack({ present: false })),
  ]),
  server({ v3: '3.1.2-7' }, 'what is retained outlives the session of its publisher', (v) => [
    ...opened(v, 'a'),
    send('a', v.publish('t', 'x', { qos: 1, id: 1, retain: true })),
    get('a', v.puback(1)),
    breakOff('a'),
    send('a2', v.connect('a'), v.subscribe(1, { t: 0 })),
    get('a2', v.connack(), v.suback(1, 0), v.publish('t', 'x', { retain: true })),
  ]),
  server(
    { v5: '3.1.2-16 3.1.2-18', v3: '3.1.2-18 3.1.2-20' },
    'user name and password without their flags are bytes too many',
    (v) => unanswered(raw(v, 0x02, str('a'), str('user')), raw(v, 0x82, str('a'), str('user'), str('password'))),
  ),
  server({ v5: '3.1.2-17 3.1.2-19', v3: '3.1.2-19 3.1.2-21' }, 'their flags without user name or password', (v) =>
    unanswered(raw(v, 0x82, str('a')), raw(v, 0xc2, str('a'), str('user'))),
  ),
  server({ v3: '3.1.2-22' }, 'a password without a user name', (v) =>
    unanswered(raw(v, 0x42, str('a'), str('password'))),
  ),
  server({ v5: '3.1.2-22 3.2.2-22', v3: '3.1.2-24' }, 'nothing for one and a half times the Keep Alive', (v) => [
    ...opened(v, 'a', { keepAlive: 10 }),
    wait(14_000),
    send('a', 'c000'),
    get('a', 'd000'),
    wait(14_900),
    getNothing('a'),
    wait(200),
    ...(v.is5 ? [get('a', v.disconnect(0x8d))] : []),
    seeEnd('a'),
  ]),
  server(
    { v5: '3.1.2-24 3.1.2-25' },
    'what is larger than the client takes counts as delivered, and the next one comes',
    (v) => [
      ...opened(v, 'a', { props: [P.maximumPacketSize(20)] }),
      send('a', v.subscribe(1, { t: 1 })),
      get('a', v.suback(1, 1)),
      send('a', v.publish('t', 'x'.repeat(13), { qos: 1, id: 1 }), v.publish('t', 'y'.repeat(12), { qos: 1, id: 2 })),
      get('a', v.puback(1), v.publish('t', 'y'.repeat(12), { qos: 1, id: 2 }), v.puback(2)),
    ],
  ),
  server({ v5: '3.1.2-25' }, 'also from the queue of a kept session, whose window stays open', (v) => [
    send('a', v.connect('a', kept(v, { props: [P.maximumPacketSize(20), P.receiveMaximum(1)] }))),
    get('a', v.connack()),
    send('a', v.subscribe(1, { t: 1 })),
    get('a', v.suback(1, 1)),
    send('a', v.publish('t', 'x'.repeat(13), { qos: 1, id: 1 }), v.publish('t', 'y', { qos: 1, id: 2 })),
    get('a', v.publish('t', 'y', { qos: 1, id: 2 }), v.puback(1), v.puback(2)),
  ]),
  server({ v5: '3.1.2-24' }, 'an answer that is too large ends the connection instead', (v) => [
    ...opened(v, 'a', { props: [P.maximumPacketSize(13)] }),
    send('a', v.subscribe(1, { 1: 0, 2: 0, 3: 0, 4: 0, 5: 0, 6: 0, 7: 0, 8: 0, 9: 0 })),
    get('a', v.disconnect(0x95)),
    seeEnd('a'),
  ]),
  server({ v5: '3.1.2-26 3.3.2-11' }, 'a client that takes one alias gets none above 1', (v) => [
    ...opened(v, 'a', { props: [P.topicAliasMaximum(1)] }),
    send('a', v.subscribe(1, { 'sensor/#': 0 })),
    get('a', v.suback(1, 0)),
    send('a', ...['one', 'one', 'one', 'two', 'two', 'two'].map((topic) => v.publish(`sensor/${topic}`, 'x'))),
    get(
      'a',
      v.publish('sensor/one', 'x'),
      v.publish('sensor/one', 'x', { props: [P.topicAlias(1)] }),
      v.publish('', 'x', { props: [P.topicAlias(1)] }),
      v.publish('sensor/two', 'x'),
      v.publish('sensor/two', 'x'),
      v.publish('sensor/two', 'x'),
    ),
  ]),
  server({ v5: '3.1.2-27' }, 'a client that takes no aliases gets none', (v) =>
    [[], [P.topicAliasMaximum(0)]].flatMap((list, i) => [
      ...opened(v, `a${i}`, { props: list }),
      send(`a${i}`, v.subscribe(1, { 'sensor/#': 0 })),
      get(`a${i}`, v.suback(1, 0)),
      send(`a${i}`, ...['x', 'y', 'z'].map((it) => v.publish('sensor/one', it))),
      get(`a${i}`, ...['x', 'y', 'z'].map((it) => v.publish('sensor/one', it))),
      breakOff(`a${i}`),
    ]),
  ),
  server({ v5: '3.1.2-28' }, 'no Response Information, asked for or not', (v) => [
    ...opened(v, 'a', { props: [P.responseInformation(0)] }),
    ...opened(v, 'b', { props: [P.responseInformation(1)] }),
  ]),
  server(
    { v5: '3.1.2-29 3.4.2-2 3.4.2-3 3.5.2-2 3.5.2-3' },
    'a client that wants no problem information gets a reason code alone',
    (v) => [
      ...opened(v, 'a', { props: [P.problemInformation(0)] }),
      send(
        'a',
        v.publish('no', 'x', { qos: 1, id: 1 }),
        v.publish('no', 'x', { qos: 2, id: 2 }),
        v.subscribe(3, { no: 0 }),
      ),
      get('a', v.puback(1, 0x87), v.pubrec(2, 0x87), v.suback(3, 0x87)),
      send('a', v.unsubscribe(4, 'no'), v.pubrel(9)),
      get('a', v.unsuback(4, 0x11), v.pubcomp(9, 0x92)),
    ],
    {
      policy: {
        rules: [
          { action: 'publish', topics: ['no'], effect: 'deny' },
          { action: 'subscribe', topics: ['no'], effect: 'deny' },
        ],
      },
    },
  ),
  server(
    { v5: '3.1.2-30' },
    'another packet than AUTH or DISCONNECT while the client proves itself',
    (v) => [
      send(
        'a',
        v.connect('a', { props: [P.method('SCRAM-SHA-256'), P.data(Buffer.from('n,,n=ana,r=x').toString('hex'))] }),
      ),
      get('a', packet(0xf0, '18', '..'.repeat(83))),
      send('a', v.subscribe(1, { t: 0 })),
      get('a', v.connack({ reason: 0x82 })),
      seeEnd('a'),
    ],
    { users: true },
  ),
  server({ v5: '3.1.3-1', v3: '3.1.3-1' }, 'the payload in its order', (v) => [
    ...subscribed(v, 'b', { will: 0 }),
    ...opened(v, 'a', { will: { topic: 'will', payload: 'gone' }, user: 'user', password: 'password' }),
    breakOff('a'),
    get('b', v.publish('will', 'gone')),
  ]),
  server({ v5: '3.1.3-2', v3: '3.1.3-2' }, 'each client id has a session of its own', (v) => [
    send('a', v.connect('a', kept(v)), v.subscribe(1, { t: 1 })),
    get('a', v.connack(), v.suback(1, 1)),
    breakOff('a'),
    send('b', v.connect('b', kept(v))),
    get('b', v.connack({ present: false })),
    send('a2', v.connect('a', kept(v))),
    get('a2', v.connack({ present: true })),
  ]),
  client({ v5: '3.1.3-2', v3: '3.1.3-2' }, 'a bridge has the same client id on each connection', (v) => [
    ...bridged(v),
    breakOff('up'),
    ...bridged(v, { who: 'up2', present: true }),
    ...(v.is5 ? [] : [get('up2', v.subscribe(0x7d01, { 'commands/#': 2 }))]),
  ]),
  server({ v5: '3.1.3-3', v3: '3.1.3-3' }, 'no client id, not even an empty one', (v) => unanswered(raw(v, 0x02))),
  server({ v5: '3.1.3-4', v3: '3.1.3-4' }, 'a client id that is not UTF-8, and one with U+0000', (v) =>
    unanswered(raw(v, 0x02, bin('61ff')), raw(v, 0x02, bin('610062')), raw(v, 0x02, bin('eda080'))),
  ),
  server({ v5: '3.1.3-5', v3: '3.1.3-5' }, 'ids of one and of 23 characters, of all letters and digits', (v) =>
    ['x', ALL_LETTERS.slice(0, 23), ALL_LETTERS.slice(23, 46), ALL_LETTERS.slice(39)].flatMap((id) => opened(v, id)),
  ),
  server({ v5: '3.1.3-6 3.1.3-7 3.2.2-16' }, 'an empty client id: one of its own is assigned and told', (v) =>
    ['a', 'b'].flatMap((who) => [
      send(who, v.connect('')),
      get(
        who,
        v.connack({
          props: [P.assignedClientId('..'.repeat(27)), P.topicAliasMaximum(32), P.maximumPacketSize(1024 * 1024)],
        }),
      ),
    ]),
  ),
  server({ v3: '3.1.3-6' }, 'an empty client id: each such client has its own', (v) => [
    send('a', v.connect('')),
    get('a', v.connack()),
    send('b', v.connect('')),
    get('b', v.connack()),
    getNothing('a'),
  ]),
  server({ v3: '3.1.3-8 3.2.2-4 3.2.2-5' }, 'an empty client id without clean session', (v) => [
    send('a', v.connect('', { clean: false })),
    get('a', v.connack({ reason: 2 })),
    seeEnd('a'),
  ]),
  server(
    { v5: '3.1.3-8', v3: '3.1.3-9' },
    'a client id that the listener does not take',
    (v) => [send('a', v.connect('a')), get('a', v.connack({ reason: v.either(0x85, 2) })), seeEnd('a')],
    { policy: { listener: { clientIdPrefixes: ['edge-'] } } },
  ),
  server({ v5: '3.1.3-12', v3: '3.1.3-11' }, 'a user name that is not UTF-8, and one with U+0000', (v) =>
    unanswered(raw(v, 0x82, str('a'), bin('ff')), raw(v, 0x82, str('a'), bin('610062'))),
  ),
  server({ v5: '3.1.4-1', v3: '3.1.4-1' }, 'a CONNECT that is too short, and one with bytes left over', (v) =>
    unanswered(packet(0x10, str('MQTT'), u8(v.level), '02'), raw(v, 0x02, str('a'), '00'), packet(0x10, u16(9), 'ff')),
  ),
  server(
    { v5: '3.1.4-2 3.2.2-6 3.2.2-7 3.2.2-8 4.13.2-1', v3: '3.2.2-4 3.2.2-5' },
    'a client that may not connect is told why, without its session, and the connection ends',
    (v) => [send('a', v.connect('a', kept(v))), get('a', v.connack({ reason: v.either(0x87, 5) })), seeEnd('a')],
    { policy: { rules: [{ action: 'connect', effect: 'deny' }] } },
  ),
  server(
    { v5: '3.1.4-2' },
    'a user name or password that is wrong',
    (v) => [
      send('a', v.connect('a', { user: 'eve', password: 'x' })),
      get('a', v.connack({ reason: 0x86 })),
      seeEnd('a'),
    ],
    { users: true },
  ),
  server({ v5: '3.1.4-3', v3: '3.1.4-2' }, 'a second connection of a client id ends the first', (v) => [
    ...opened(v, 'a'),
    send('a2', v.connect('a')),
    ...(v.is5 ? [get('a', v.disconnect(0x8e))] : []),
    seeEnd('a'),
    get('a2', v.connack()),
  ]),
  server({ v5: '3.1.4-5', v3: '3.1.4-4' }, 'CONNACK says success', (v) => opened(v, 'a')),
  server(
    { v5: '3.1.4-6', v3: '3.1.4-5' },
    'what follows a refused CONNECT does nothing',
    (v) => [
      ...subscribed(v, 'edge-b', { t: 0 }),
      send('a', v.connect('a'), v.publish('t', 'x'), v.publish('t', 'y', { qos: 1, id: 1 })),
      get('a', v.connack({ reason: v.either(0x85, 2) })),
      seeEnd('a'),
      getNothing('edge-b'),
    ],
    { policy: { listener: { clientIdPrefixes: ['edge-'] } } },
  ),
]
