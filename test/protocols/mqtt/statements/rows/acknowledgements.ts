/** PUBACK, PUBREC, PUBREL and PUBCOMP: 5.0 §3.4 to §3.7; 3.1.1 §3.4 to §3.7. */
import { type Dialect, P, packet, props, u16, u8 } from '../bytes.ts'
import {
  breakOff,
  client,
  get,
  getNothing,
  kept,
  opened,
  publish,
  type Row,
  seeEnd,
  send,
  server,
  type Step,
  subscribed,
} from '../row.ts'
import { bridged } from './bridge.ts'

const cut = (v: Dialect, who: string, reason: number): readonly Step[] =>
  v.is5 ? [get(who, v.disconnect(reason)), seeEnd(who)] : [seeEnd(who)]
const refused = (v: Dialect, reason: number, ...hex: readonly string[]): readonly Step[] =>
  hex.flatMap((one, i) => [...opened(v, `a${i}`), send(`a${i}`, one), ...cut(v, `a${i}`, reason)])
/** An acknowledgement with a reason code that its type does not have. */
const undefinedReason = (v: Dialect, first: number, ...reasons: readonly number[]): readonly Step[] =>
  refused(v, 0x82, ...reasons.map((reason) => packet(first, u16(1), u8(reason))))
const DENIED = {
  policy: {
    rules: [
      { action: 'publish' as const, topics: ['no'], effect: 'deny' as const },
      { action: 'publish' as const, topics: ['#'], effect: 'allow' as const },
    ],
  },
}
/** The client takes packets of so many bytes. */
const small = (v: Dialect, bytes: number): readonly Step[] => opened(v, 'a', { props: [P.maximumPacketSize(bytes)] })

export const ACKNOWLEDGEMENTS: readonly Row[] = [
  server(
    { v5: '3.4.2-1' },
    'PUBACK says that it was taken, or not',
    (v) => [
      ...opened(v, 'a'),
      send('a', v.publish('t', 'x', { qos: 1, id: 1 }), v.publish('no', 'x', { qos: 1, id: 2 })),
      get('a', v.puback(1), v.puback(2, 0x87)),
    ],
    DENIED,
  ),
  server({ v5: '3.4.2-1' }, 'PUBACK with a reason code that it does not have', (v) =>
    undefinedReason(v, 0x40, 0x01, 0x92, 0xff),
  ),
  server({ v5: '3.4.2-1 4.4.0-2' }, 'PUBACK with any that it has is an answer', (v) => [
    ...subscribed(v, 'b', { t: 1 }),
    ...opened(v, 'a'),
    ...[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99].flatMap((reason, i) => [
      send('a', v.publish('t', 'x', { qos: 1, id: 1 })),
      get('a', v.puback(1)),
      get('b', v.publish('t', 'x', { qos: 1, id: i + 1 })),
      send('b', packet(0x40, u16(i + 1), u8(reason), props(P.reasonString('why'), P.user('a', 'b')))),
    ]),
    getNothing('b'),
  ]),
  server(
    { v5: '3.4.2-2 3.4.2-3 3.5.2-2 3.5.2-3 3.7.2-2 3.7.2-3' },
    'no Reason String and no User Property makes an acknowledgement longer',
    (v) => [
      ...small(v, 13),
      send('a', v.publish('no', 'x', { qos: 1, id: 1 }), v.publish('no', 'x', { qos: 2, id: 2 }), v.pubrel(3)),
      get('a', v.puback(1, 0x87), v.pubrec(2, 0x87), v.pubcomp(3, 0x92)),
    ],
    DENIED,
  ),
  client(
    { v5: '3.4.2-1 3.5.2-1 3.7.2-1 3.4.2-2 3.4.2-3 3.5.2-2 3.5.2-3 3.7.2-2 3.7.2-3' },
    'a bridge answers with a packet id and at most a reason code',
    (v) => [
      ...bridged(v),
      send('up', v.publish('commands/1', 'x', { qos: 1, id: 1 }), v.publish('commands/1', 'x', { qos: 2, id: 2 })),
      get('up', v.puback(1), v.pubrec(2)),
      send('up', v.pubrel(2)),
      get('up', v.pubcomp(2)),
      send('up', v.pubrel(9)),
      get('up', v.pubcomp(9, 0x92)),
    ],
  ),
  server(
    { v5: '3.5.2-1' },
    'PUBREC says that it was taken, or not',
    (v) => [
      ...opened(v, 'a'),
      send('a', v.publish('t', 'x', { qos: 2, id: 1 }), v.publish('no', 'x', { qos: 2, id: 2 })),
      get('a', v.pubrec(1), v.pubrec(2, 0x87)),
    ],
    DENIED,
  ),
  server({ v5: '3.5.2-1' }, 'PUBREC with a reason code that it does not have', (v) =>
    undefinedReason(v, 0x50, 0x01, 0x92, 0xff),
  ),
  server({ v5: '3.6.1-1', v3: '3.6.1-1' }, 'other flags in PUBREL', (v) =>
    refused(v, 0x81, ...[0x60, 0x61, 0x63, 0x66, 0x6a].map((first) => packet(first, u16(1)))),
  ),
  server({ v5: '3.6.2-1' }, 'PUBREL says success, and for an id that nobody knows 0x92', (v) => [
    ...subscribed(v, 'b', { t: 2 }),
    send('b', v.publish('t', 'x', { qos: 2, id: 7 })),
    get('b', v.publish('t', 'x', { qos: 2, id: 1 }), v.pubrec(7)),
    send('b', v.pubrec(1), v.pubrec(9)),
    get('b', v.pubrel(1), v.pubrel(9, 0x92)),
  ]),
  server({ v5: '3.6.2-1' }, 'PUBREC with an error for an id that nobody knows is not answered', (v) => [
    ...opened(v, 'a'),
    send('a', v.pubrec(9, 0x80)),
    getNothing('a'),
  ]),
  server({ v5: '3.6.2-1' }, 'PUBREL with a reason code that it does not have', (v) =>
    undefinedReason(v, 0x62, 0x01, 0x80, 0x91),
  ),
  server({ v5: '3.6.2-2 3.6.2-3' }, 'PUBREL is as short as it can be', (v) => [
    ...small(v, 13),
    send('a', v.pubrec(9)),
    get('a', v.pubrel(9, 0x92)),
  ]),
  client(
    { v5: '3.6.2-1 3.6.2-2 3.6.2-3' },
    'PUBREL of a bridge',
    (v) => [
      ...bridged(v, { routes: ['up'] }),
      publish('sensors/1', 'x', { qos: 2 }),
      get('up', v.publish('sensors/1', 'x', { qos: 2, id: 1 })),
      send('up', v.pubrec(1), v.pubrec(9)),
      get('up', v.pubrel(9, 0x92), v.pubrel(1)),
      send('up', v.pubcomp(1)),
      getNothing('up'),
    ],
    { routes: ['up'] },
  ),
  server({ v5: '3.7.2-1' }, 'PUBCOMP says success, and for an id that nobody knows 0x92', (v) => [
    ...opened(v, 'a'),
    send('a', v.publish('t', 'x', { qos: 2, id: 1 })),
    get('a', v.pubrec(1)),
    send('a', v.pubrel(1), v.pubrel(1)),
    get('a', v.pubcomp(1), v.pubcomp(1, 0x92)),
  ]),
  server({ v5: '3.7.2-1' }, 'of a session that was resumed nobody knows what its last connection still heard', (v) => [
    send('a', v.connect('a', kept(v)), v.subscribe(1, { t: 0 })),
    get('a', v.connack(), v.suback(1, 0)),
    breakOff('a'),
    send('a2', v.connect('a', kept(v)), v.pubrel(1)),
    get('a2', v.connack({ present: true }), v.pubcomp(1)),
  ]),
  server({ v5: '3.7.2-1' }, 'PUBCOMP with a reason code that it does not have', (v) =>
    undefinedReason(v, 0x70, 0x01, 0x80, 0x91),
  ),
]
