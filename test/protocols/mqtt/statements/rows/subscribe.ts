/** SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK: 5.0 and 3.1.1 §3.8 to §3.11. */
import { type Dialect, P, packet, props, str, u16 } from '../bytes.ts'
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

const cut = (v: Dialect, who: string, reason: number): readonly Step[] =>
  v.is5 ? [get(who, v.disconnect(reason)), seeEnd(who)] : [seeEnd(who)]
const refused = (v: Dialect, reason: number, ...hex: readonly string[]): readonly Step[] =>
  hex.flatMap((one, i) => [...opened(v, `a${i}`), send(`a${i}`, one), ...cut(v, `a${i}`, reason)])
const noProps = (v: Dialect): string => (v.is5 ? props() : '')
const DENIED = {
  policy: {
    rules: [
      { action: 'subscribe' as const, topics: ['no'], effect: 'deny' as const },
      { action: 'subscribe' as const, topics: ['#'], effect: 'allow' as const },
    ],
  },
}
const NO_LOCAL = 0x04
const ILL_FORMED = ['0002 61ff', '0003 610062', '0003 eda080']

export const SUBSCRIBES: readonly Row[] = [
  server({ v5: '3.8.1-1', v3: '3.8.1-1' }, 'other flags in SUBSCRIBE', (v) =>
    refused(
      v,
      0x81,
      ...[0x80, 0x81, 0x83, 0x86, 0x8a].map((first) => packet(first, u16(1), noProps(v), str('t'), '00')),
    ),
  ),
  server({ v5: '3.8.3-1', v3: '3.8.3-1' }, 'a topic filter that is not UTF-8', (v) =>
    refused(v, 0x81, ...ILL_FORMED.map((hex) => packet(0x82, u16(1), noProps(v), hex, '00'))),
  ),
  server({ v5: '3.8.3-2', v3: '3.8.3-3' }, 'SUBSCRIBE without a topic filter', (v) =>
    refused(v, 0x82, packet(0x82, u16(1), noProps(v))),
  ),
  server({ v3: '3.8.3-3', v5: '3.8.3-2' }, 'SUBSCRIBE whose last filter has no options', (v) =>
    refused(v, 0x81, packet(0x82, u16(1), noProps(v), str('t'))),
  ),
  server({ v3: '3.8.3-2' }, 'filters with wildcards are supported', (v) => [
    ...subscribed(v, 'a', { '#': 0, '+/b': 0 }),
    send('a', v.publish('a/b', 'x')),
    get('a', v.publish('a/b', 'x')),
  ]),
  server({ v5: '3.8.3-3' }, 'No Local: nothing comes back to who sent it, by whatever connection', (v) => [
    send('a', v.connect('a', kept(v)), v.subscribe(1, { t: 1 | NO_LOCAL })),
    get('a', v.connack(), v.suback(1, 1)),
    send('a', v.publish('t', 'x'), v.publish('t', 'x', { qos: 1, id: 1 }), v.publish('t', 'x', { qos: 2, id: 2 })),
    get('a', v.puback(1), v.pubrec(2)),
    breakOff('a'),
    send('a2', v.connect('a', kept(v))),
    get('a2', v.connack({ present: true })),
    send('a2', v.publish('t', 'y', { qos: 1, id: 3 })),
    get('a2', v.puback(3)),
    ...opened(v, 'b'),
    send('b', v.publish('t', 'z')),
    get('a2', v.publish('t', 'z')),
  ]),
  server({ v5: '3.8.3-4' }, 'No Local on a shared subscription', (v) =>
    refused(v, 0x82, v.subscribe(1, { '$share/g/t': NO_LOCAL })),
  ),
  server({ v5: '3.8.3-5', v3: '3.8.3-4' }, 'reserved bits of the options', (v) =>
    refused(
      v,
      0x81,
      ...v.either([0x40, 0x80, 0xc0], [0x04, 0x08, 0x10, 0x20, 0x40, 0x80]).map((bits) => v.subscribe(1, { t: bits })),
    ),
  ),
  server({ v5: '3.8.3-5', v3: '3.8.3-4' }, 'QoS 3', (v) => refused(v, 0x82, v.subscribe(1, { t: 3 }))),
  server({ v5: '3.8.3-5' }, 'Retain Handling 3', (v) => refused(v, 0x82, v.subscribe(1, { t: 0x30 }))),
  server({ v5: '3.8.3-5' }, 'Subscription Identifier 0, and two of them', (v) =>
    refused(
      v,
      0x82,
      v.subscribe(1, { t: 0 }, [P.subscriptionId(0)]),
      v.subscribe(1, { t: 0 }, [P.subscriptionId(1), P.subscriptionId(2)]),
    ),
  ),
  server(
    { v5: '3.8.4-1 3.8.4-2', v3: '3.8.4-1 3.8.4-2' },
    'each SUBSCRIBE is answered by a SUBACK of its packet id',
    (v) => [
      ...opened(v, 'a'),
      send('a', v.subscribe(5, { a: 0 }), v.subscribe(0xffff, { b: 1 }), v.subscribe(5, { c: 2 })),
      get('a', v.suback(5, 0), v.suback(0xffff, 1), v.suback(5, 2)),
    ],
  ),
  server({ v5: '3.8.4-3', v3: '3.8.4-3' }, 'the same filter again takes the place of the subscription', (v) => [
    ...subscribed(v, 'b', { t: 2 }),
    send('b', v.subscribe(2, { t: 0 })),
    get('b', v.suback(2, 0)),
    send('b', v.publish('t', 'x', { qos: 2, id: 1 })),
    get('b', v.publish('t', 'x'), v.pubrec(1)),
    send('b', v.unsubscribe(3, 't')),
    get('b', v.unsuback(3, 0)),
    send('b', v.publish('t', 'x')),
    getNothing('b'),
  ]),
  server({ v5: '3.8.4-3' }, 'with its Subscription Identifier, also with none', (v) => [
    ...opened(v, 'b'),
    send('b', v.subscribe(1, { t: 0 }, [P.subscriptionId(1)]), v.subscribe(2, { t: 0 }, [P.subscriptionId(2)])),
    get('b', v.suback(1, 0), v.suback(2, 0)),
    send('b', v.publish('t', 'x')),
    get('b', v.publish('t', 'x', { props: [P.subscriptionId(2)] })),
    send('b', v.subscribe(3, { t: 0 })),
    get('b', v.suback(3, 0)),
    send('b', v.publish('t', 'y')),
    get('b', v.publish('t', 'y')),
  ]),
  server({ v5: '3.8.4-4', v3: '3.8.4-3' }, 'and no message is lost by that', (v) => [
    ...subscribed(v, 'b', { t: 1 }),
    send(
      'b',
      v.publish('t', '1', { qos: 1, id: 1 }),
      v.subscribe(2, { t: 1 }),
      v.publish('t', '2', { qos: 1, id: 2 }),
      v.subscribe(3, { t: 2 }),
      v.publish('t', '3', { qos: 1, id: 3 }),
    ),
    get(
      'b',
      v.publish('t', '1', { qos: 1, id: 1 }),
      v.puback(1),
      v.suback(2, 1),
      v.publish('t', '2', { qos: 1, id: 2 }),
      v.puback(2),
      v.suback(3, 2),
      v.publish('t', '3', { qos: 1, id: 3 }),
      v.puback(3),
    ),
  ]),
  server(
    { v5: '3.8.4-5 3.8.4-6 3.8.4-7 3.9.3-1', v3: '3.8.4-4 3.8.4-5 3.9.3-1' },
    'several filters: one SUBACK with a code for each, in their order',
    (v) => [
      ...opened(v, 'a'),
      send('a', v.subscribe(1, { a: 2, no: 1, b: 0, 'c/+': 1 })),
      get('a', v.suback(1, 2, v.either(0x87, 0x80), 0, 1)),
      send('a', v.publish('c/1', 'x', { qos: 1, id: 1 })),
      get('a', v.publish('c/1', 'x', { qos: 1, id: 1 }), v.puback(1)),
    ],
    DENIED,
  ),
  server({ v5: '3.8.4-5', v3: '3.8.4-4' }, 'the same filter twice in one SUBSCRIBE: the later one counts', (v) => [
    ...opened(v, 'a'),
    send('a', packet(0x82, u16(1), noProps(v), str('t'), '02', str('t'), '00')),
    get('a', v.suback(1, 2, 0)),
    send('a', v.publish('t', 'x', { qos: 2, id: 1 })),
    get('a', v.publish('t', 'x'), v.pubrec(1)),
  ]),
  server({ v5: '3.8.4-8', v3: '3.8.4-6' }, 'QoS is the lower one of message and subscription', (v) => [
    ...subscribed(v, 'b', { 0: 0, 1: 1, 2: 2 }),
    ...opened(v, 'a'),
    ...[0, 1, 2].flatMap((granted) => [
      send('a', ...[0, 1, 2].map((qos) => v.publish(String(granted), String(qos), { qos, id: qos * 3 + granted + 1 }))),
      get('a', v.puback(3 + granted + 1), v.pubrec(6 + granted + 1)),
    ]),
    get(
      'b',
      v.publish('0', '0'),
      v.publish('0', '1'),
      v.publish('0', '2'),
      v.publish('1', '0'),
      v.publish('1', '1', { qos: 1, id: 1 }),
      v.publish('1', '2', { qos: 1, id: 2 }),
      v.publish('2', '0'),
      v.publish('2', '1', { qos: 1, id: 3 }),
      v.publish('2', '2', { qos: 2, id: 4 }),
    ),
  ]),
  server(
    { v5: '3.9.2-1 3.9.2-2' },
    'SUBACK carries no Reason String and no User Property',
    (v) => [
      ...opened(v, 'a', { props: [P.maximumPacketSize(13)] }),
      send('a', v.subscribe(1, { no: 0 })),
      get('a', v.suback(1, 0x87)),
    ],
    DENIED,
  ),
  server(
    { v5: '3.9.3-2', v3: '3.9.3-2' },
    'a quota and a filter that is too deep have codes of their own; 3.1.1 has 0x80',
    (v) => [
      ...opened(v, 'a'),
      send('a', v.subscribe(1, { 'a/b/c': 0, b: 1, c: 2 })),
      get('a', v.suback(1, ...v.either([0x8f, 1, 0x97], [0x80, 1, 0x80]))),
    ],
    { policy: { limits: { maxTopicLevels: 2, maxSubscriptionsPerSession: 1 } } },
  ),
  server({ v5: '3.10.1-1', v3: '3.10.1-1' }, 'other flags in UNSUBSCRIBE', (v) =>
    refused(v, 0x81, ...[0xa0, 0xa1, 0xa3, 0xa6, 0xaa].map((first) => packet(first, u16(1), noProps(v), str('t')))),
  ),
  server({ v5: '3.10.3-1', v3: '3.10.3-1' }, 'a topic filter of UNSUBSCRIBE that is not UTF-8, or cut', (v) =>
    refused(v, 0x81, ...[...ILL_FORMED, '0005 6162'].map((hex) => packet(0xa2, u16(1), noProps(v), hex))),
  ),
  server({ v5: '3.10.3-2', v3: '3.10.3-2' }, 'UNSUBSCRIBE without a topic filter', (v) =>
    refused(v, 0x82, packet(0xa2, u16(1), noProps(v))),
  ),
  server({ v5: '3.10.4-1', v3: '3.10.4-1' }, 'a subscription is found by its filter, character by character', (v) => [
    ...subscribed(v, 'a', { 'a/+': 0, 'a/#': 0 }),
    send('a', v.unsubscribe(2, 'a/b', 'A/+', 'a/+/', '#', 'a/+')),
    get('a', v.unsuback(2, 0x11, 0x11, 0x11, 0x11, 0)),
    send('a', v.publish('a/b', 'x')),
    get('a', v.publish('a/b', 'x')),
    send('a', v.unsubscribe(3, 'a/#')),
    get('a', v.unsuback(3, 0)),
    send('a', v.publish('a/b', 'x')),
    getNothing('a'),
  ]),
  server(
    { v5: '3.10.4-2', v3: '3.10.4-2' },
    'what is published behind UNSUBSCRIBE does not come, in one segment neither',
    (v) => [
      send('a', v.connect('a', kept(v)), v.subscribe(1, { t: 1 })),
      get('a', v.connack(), v.suback(1, 1)),
      send('a', v.unsubscribe(2, 't'), v.publish('t', 'x', { qos: 1, id: 1 }), v.publish('t', 'y')),
      get('a', v.puback(1), v.unsuback(2, 0)),
      getNothing('a'),
    ],
  ),
  server({ v5: '3.10.4-3', v3: '3.10.4-3' }, 'a delivery that was begun is completed, also over a reconnect', (v) => [
    send('a', v.connect('a', kept(v)), v.subscribe(1, { t: 2 })),
    get('a', v.connack(), v.suback(1, 2)),
    ...opened(v, 'b'),
    send('b', v.publish('t', 'x', { qos: 2, id: 1 }), v.publish('t', 'y', { qos: 1, id: 2 })),
    get('b', v.pubrec(1), v.puback(2)),
    get('a', v.publish('t', 'x', { qos: 2, id: 1 }), v.publish('t', 'y', { qos: 1, id: 2 })),
    send('a', v.unsubscribe(2, 't')),
    get('a', v.unsuback(2, 0)),
    send('a', v.pubrec(1)),
    get('a', v.pubrel(1)),
    breakOff('a'),
    send('a2', v.connect('a', kept(v))),
    get('a2', v.connack({ present: true }), v.pubrel(1), v.publish('t', 'y', { qos: 1, id: 2, dup: true })),
    send('a2', v.pubcomp(1), v.puback(2)),
    getNothing('a2'),
  ]),
  server(
    { v5: '3.10.4-4 3.10.4-5', v3: '3.10.4-4 3.10.4-5' },
    'UNSUBACK with the packet id, also when nothing was subscribed',
    (v) => [...opened(v, 'a'), send('a', v.unsubscribe(0xffff, 't')), get('a', v.unsuback(0xffff, 0x11))],
  ),
  server(
    { v5: '3.10.4-6 3.11.3-1 3.11.3-2', v3: '3.10.4-6' },
    'several filters: one UNSUBACK with a code for each, in their order',
    (v) => [
      ...subscribed(v, 'a', { a: 0, b: 0 }),
      send('a', v.unsubscribe(2, 'x', 'b', 'a', 'a')),
      get('a', v.unsuback(2, 0x11, 0, 0, 0x11)),
      send('a', v.publish('a', 'x'), v.publish('b', 'x')),
      getNothing('a'),
    ],
  ),
  server({ v5: '3.11.2-1 3.11.2-2' }, 'UNSUBACK carries no Reason String and no User Property', (v) => [
    ...opened(v, 'a', { props: [P.maximumPacketSize(13)] }),
    send('a', v.unsubscribe(1, 'x')),
    get('a', v.unsuback(1, 0x11)),
  ]),
  client(
    { v5: '3.8.3-2 3.8.3-5 3.8.1-1', v3: '3.8.3-3 3.8.3-4 3.8.1-1' },
    'SUBSCRIBE of a bridge',
    (v) => bridged(v, { routes: ['down'] }),
    { routes: ['down'] },
  ),
  client(
    { v5: '3.8.4-6' },
    'a SUBACK that nobody asked for, or that is too short, is no grant',
    (v) => [
      meet('up'),
      get('up', CONNECTED(v)),
      send('up', v.connack({ props: [] })),
      get('up', v.subscribe(0xfff1, { 'commands/#': 0x0e })),
      send('up', v.suback(7, 2)),
      getNothing('up'),
      send('up', packet(0x90, u16(0xfff1), noProps(v))),
      get('up', v.disconnect(0x82)),
      seeEnd('up'),
    ],
    { routes: ['down'] },
  ),
  client(
    { v5: '3.9.3-2', v3: '3.9.3-2' },
    'a subscription that is refused leaves the connection as it is',
    (v) => [
      meet('up'),
      get('up', CONNECTED(v, v.level)),
      send('up', v.connack({ props: [] })),
      get('up', v.subscribe(0xfff1, { 'commands/#': v.either(0x0e, 2) })),
      send('up', v.suback(0xfff1, v.either(0x87, 0x80))),
      wait(1_000),
      getNothing('up'),
    ],
    { routes: ['down'] },
  ),
]
