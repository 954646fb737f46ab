/** Data representation and packet format: 5.0 §1.5, §2; 3.1.1 §1.5, §2. */
import { type Dialect, packet, props, str, u16 } from '../bytes.ts'
import {
  client,
  get,
  getNothing,
  meet,
  opened,
  publish,
  type Row,
  seeEnd,
  send,
  server,
  type Step,
  subscribed,
} from '../row.ts'
import { bridged, CONNECTED } from './bridge.ts'

/** Malformed: 5.0 is told so, 3.1.1 knows no way. */
const malformed = (v: Dialect, who = 'a', reason = 0x81): readonly Step[] =>
  v.is5 ? [get(who, v.disconnect(reason)), seeEnd(who)] : [seeEnd(who)]
/** A topic of these bytes in a PUBLISH, and then in a filter. */
const topicOf = (v: Dialect, hex: string): string => packet(0x30, u16(hex.length / 2) + hex, v.is5 ? props() : '', '78')
const filterOf = (v: Dialect, hex: string): string =>
  packet(0x82, u16(1), v.is5 ? props() : '', u16(hex.length / 2) + hex, '00')

const ILL_FORMED = {
  'a surrogate': '61eda080',
  'an overlong form': '61c0af',
  'a sequence that is cut': '61e282',
  'a code point above U+10FFFF': 'f4908080',
}

export const DATA: readonly Row[] = [
  ...Object.entries(ILL_FORMED).flatMap(([what, hex]) => [
    server({ v5: '1.5.4-1', v3: '1.5.3-1' }, `${what} in a topic name`, (v) => [
      ...opened(v, 'a'),
      send('a', topicOf(v, hex)),
      ...malformed(v),
    ]),
    server({ v5: '1.5.4-1 3.8.3-1', v3: '1.5.3-1 3.8.3-1' }, `${what} in a topic filter`, (v) => [
      ...opened(v, 'a'),
      send('a', filterOf(v, hex)),
      ...malformed(v),
    ]),
    client({ v5: '1.5.4-1', v3: '1.5.3-1' }, `${what} from a broker`, (v) => [
      ...bridged(v),
      send('up', topicOf(v, hex)),
      ...malformed(v, 'up'),
    ]),
  ]),
  server({ v5: '1.5.4-2 4.7.3-2', v3: '1.5.3-2 4.7.3-2' }, 'U+0000 in a topic name', (v) => [
    ...opened(v, 'a'),
    send('a', topicOf(v, '610062')),
    ...malformed(v),
  ]),
  server({ v5: '1.5.4-2 4.7.3-2', v3: '1.5.3-2 4.7.3-2' }, 'U+0000 in a topic filter', (v) => [
    ...opened(v, 'a'),
    send('a', filterOf(v, '610062')),
    ...malformed(v),
  ]),
  client({ v5: '1.5.4-2', v3: '1.5.3-2' }, 'U+0000 from a broker', (v) => [
    ...bridged(v),
    send('up', topicOf(v, '610062')),
    ...malformed(v, 'up'),
  ]),
  server({ v5: '1.5.4-3', v3: '1.5.3-3' }, 'U+FEFF at the beginning of a topic stays where it is', (v) => [
    ...subscribed(v, 'a', { '\uFEFFt': 0, t: 1 }),
    send('a', v.publish('\uFEFFt', 'x')),
    get('a', v.publish('\uFEFFt', 'x')),
  ]),
  server({ v5: '1.5.5-1' }, 'a Property Length that is longer than it need be', (v) => [
    ...opened(v, 'a'),
    send('a', packet(0x30, str('t'), '8000', '78')),
    ...malformed(v),
  ]),
  server({ v5: '1.5.5-1' }, 'a Remaining Length that is longer than it need be', (v) => [
    ...opened(v, 'a'),
    send('a', 'c08000'),
    ...malformed(v),
  ]),
  server({ v5: '1.5.5-1' }, 'a Remaining Length of five bytes', (v) => [
    ...opened(v, 'a'),
    send('a', '30ffffffff01'),
    ...malformed(v),
  ]),
  server({ v5: '1.5.7-1' }, 'a User Property with an ill-formed name, and one with an ill-formed value', (v) =>
    ['26 0001ff 000178', '26 000178 0001ff', '26 0001 00 000178', '26 000178 000100'].flatMap((pair, i) => [
      ...opened(v, `a${i}`),
      send(`a${i}`, packet(0x30, str('t'), props(pair), '78')),
      ...malformed(v, `a${i}`),
    ]),
  ),
  server({ v5: '2.1.3-1', v3: '2.2.2-1 2.2.2-2' }, 'reserved flags of each packet type', (v) =>
    [0x41, 0x5f, 0x60, 0x6a, 0x72, 0x80, 0x81, 0x8a, 0xa0, 0xaf, 0xc1, 0xe8].flatMap((first) => [
      ...opened(v, `a${first}`),
      send(`a${first}`, packet(first, first >= 0xc0 ? '' : u16(1))),
      ...malformed(v, `a${first}`),
    ]),
  ),
  client({ v5: '2.1.3-1', v3: '2.2.2-1 2.2.2-2' }, 'reserved flags in what a broker sends', (v) => [
    ...bridged(v),
    send('up', 'd100'),
    ...malformed(v, 'up'),
  ]),
  server({ v5: '2.2.1-2', v3: '2.3.1-5' }, 'QoS 0 has no packet id: what follows the topic is the message', (v) => [
    ...subscribed(v, 'a', { t: 0 }),
    send('a', packet(0x30, str('t'), v.is5 ? props() : '', '000a')),
    get('a', packet(0x30, str('t'), v.is5 ? props() : '', '000a')),
  ]),
  server({ v5: '2.2.1-3', v3: '2.3.1-1' }, 'packet id 0', (v) =>
    [v.publish('t', 'x', { qos: 1, id: 0 }), v.subscribe(0, { t: 0 }), v.unsubscribe(0, 't')].flatMap((hex, i) => [
      ...opened(v, `a${i}`),
      send(`a${i}`, hex),
      ...malformed(v, `a${i}`),
    ]),
  ),
  client({ v5: '2.2.1-3', v3: '2.3.1-1 2.3.1-2' }, 'packet ids are not 0 and not in use', (v) => [
    ...bridged(v),
    publish('sensors/1', 'x', { qos: 1 }),
    publish('sensors/2', 'y', { qos: 1 }),
    get('up', v.publish('sensors/1', 'x', { qos: 1, id: 1 }), v.publish('sensors/2', 'y', { qos: 1, id: 2 })),
    send('up', v.puback(1)),
    publish('sensors/3', 'z', { qos: 1 }),
    get('up', v.publish('sensors/3', 'z', { qos: 1, id: 3 })),
  ]),
  server(
    { v5: '2.2.1-4 4.3.2-1 4.3.3-1', v3: '2.3.1-4 4.3.2-1 4.3.3-1' },
    'two messages to one client have two packet ids',
    (v) => [
      ...subscribed(v, 'a', { '#': 2 }),
      send('a', v.publish('s', 'x', { qos: 1, id: 7 }), v.publish('t', 'y', { qos: 2, id: 8 })),
      get(
        'a',
        v.publish('s', 'x', { qos: 1, id: 1 }),
        v.puback(7),
        v.publish('t', 'y', { qos: 2, id: 2 }),
        v.pubrec(8),
      ),
    ],
  ),
  server({ v5: '2.2.1-5', v3: '2.3.1-6' }, 'answers carry the packet id of the PUBLISH', (v) => [
    ...opened(v, 'a'),
    send('a', v.publish('t', 'x', { qos: 1, id: 0xfffe }), v.publish('t', 'x', { qos: 2, id: 0x1234 })),
    get('a', v.puback(0xfffe), v.pubrec(0x1234)),
    send('a', v.pubrel(0x1234)),
    get('a', v.pubcomp(0x1234)),
  ]),
  server(
    { v5: '2.2.1-6 3.8.4-1 3.8.4-2', v3: '2.3.1-7 3.8.4-1 3.8.4-2' },
    'SUBACK and UNSUBACK carry the packet id that was asked with',
    (v) => [
      ...opened(v, 'a'),
      send('a', v.subscribe(0xffff, { t: 1 }), v.unsubscribe(0x0102, 't')),
      get('a', v.suback(0xffff, 1), v.unsuback(0x0102, 0)),
    ],
  ),
  server({ v5: '2.2.2-1' }, 'no properties are a Property Length of 0, and without one the packet is cut', (v) => [
    ...subscribed(v, 'a', { t: 0 }),
    send('a', packet(0x30, str('t'))),
    ...malformed(v),
  ]),
  client(
    { v3: '2.3.1-3', v5: '2.2.1-3' },
    'what is sent again has its old packet id, and new ones have others',
    (v) => [
      ...bridged(v, { routes: ['up'] }),
      publish('sensors/1', 'x', { qos: 1 }),
      get('up', v.publish('sensors/1', 'x', { qos: 1, id: 1 })),
      { does: 'break', who: 'up' },
      publish('sensors/2', 'y', { qos: 1 }),
      meet('up'),
      get('up', CONNECTED(v)),
      send('up', v.connack({ present: true, props: [] })),
      get(
        'up',
        v.publish('sensors/1', 'x', { qos: 1, id: 1, dup: true }),
        v.publish('sensors/2', 'y', { qos: 1, id: 2 }),
      ),
      getNothing('up'),
    ],
    { routes: ['up'] },
  ),
]
