/** PINGREQ, DISCONNECT and errors: 5.0 §3.12 to §3.14, §4.13; 3.1.1 §3.12 to §3.14, §4.8. */
import { type Dialect, P, packet, PINGREQ, PINGRESP, props, str, u16, u8 } from '../bytes.ts'
import {
  breakOff,
  client,
  get,
  getNothing,
  kept,
  opened,
  publish,
  restart,
  type Row,
  seeEnd,
  send,
  server,
  type Step,
  subscribed,
  wait,
} from '../row.ts'
import { bridged } from './bridge.ts'

const cut = (v: Dialect, who: string, reason: number): readonly Step[] =>
  v.is5 ? [get(who, v.disconnect(reason)), seeEnd(who)] : [seeEnd(who)]
const refused = (v: Dialect, reason: number, ...hex: readonly string[]): readonly Step[] =>
  hex.flatMap((one, i) => [...opened(v, `a${i}`), send(`a${i}`, one), ...cut(v, `a${i}`, reason)])
const noProps = (v: Dialect): string => (v.is5 ? props() : '')

export const ENDINGS: readonly Row[] = [
  server({ v5: '3.12.4-1', v3: '3.12.4-1' }, 'PINGREQ is answered', (v) => [
    ...opened(v, 'a'),
    send('a', PINGREQ, PINGREQ),
    get('a', PINGRESP, PINGRESP),
  ]),
  server({ v5: '3.12.4-1', v3: '3.12.4-1' }, 'PINGREQ with a body', (v) => refused(v, 0x81, packet(0xc0, u8(0)))),
  server({ v5: '3.14.0-1' }, 'before CONNACK there is no DISCONNECT', (v) => [
    send('a', packet(0x10, 'ff')),
    seeEnd('a'),
    send('b', v.publish('t', 'x')),
    seeEnd('b'),
    send('c', packet(0x10, str('MQTT'), '05 03 0000 00', str('c'))),
    seeEnd('c'),
  ]),
  server({ v5: '3.14.0-1' }, 'a client that never sends CONNECT', (v) => [
    send('a', v.connect('a').slice(0, 10)),
    wait(10_001),
    seeEnd('a'),
  ]),
  server({ v5: '3.14.1-1', v3: '3.14.1-1' }, 'reserved bits of DISCONNECT', (v) =>
    refused(v, 0x81, 'e100', 'e200', 'e800', 'ef00'),
  ),
  client({ v5: '3.14.1-1', v3: '2.2.2-2' }, 'reserved bits of DISCONNECT from a broker', (v) => [
    ...bridged(v),
    send('up', 'e200'),
    ...cut(v, 'up', v.either(0x81, 0)),
  ]),
  server({ v5: '3.14.2-1' }, 'a reason code that DISCONNECT does not have', (v) =>
    refused(v, 0x82, ...[0x01, 0x86, 0x88, 0x8c, 0xff].map((reason) => v.disconnect(reason))),
  ),
  server({ v5: '3.14.2-1' }, 'all that it has, with properties', (v) =>
    [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99].flatMap((reason, i) => [
      ...opened(v, `a${i}`),
      send(`a${i}`, v.disconnect(reason, [P.reasonString('why'), P.user('a', 'b')])),
      seeEnd(`a${i}`),
    ]),
  ),
  server({ v5: '3.14.2-2 3.14.2-3 3.14.2-4' }, 'DISCONNECT of the server has a reason code and no properties', (v) =>
    refused(v, 0x82, v.connect('a')),
  ),
  client({ v5: '3.14.2-1 3.14.2-3 3.14.2-4' }, 'so has that of a bridge', (v) => [
    ...bridged(v),
    send('up', v.subscribe(1, { t: 0 })),
    ...cut(v, 'up', 0x82),
  ]),
  server({ v5: '3.14.2-2' }, 'Session Expiry Interval in DISCONNECT changes that of the session', (v) => [
    send('a', v.connect('a', kept(v)), v.subscribe(1, { t: 1 })),
    get('a', v.connack(), v.suback(1, 1)),
    send('a', v.disconnect(0, [P.sessionExpiry(10)])),
    seeEnd('a'),
    wait(10_001),
    send('a2', v.connect('a', kept(v))),
    get('a2', v.connack({ present: false })),
    send('a2', v.disconnect(0, [P.sessionExpiry(0)])),
    seeEnd('a2'),
    send('a3', v.connect('a', kept(v))),
    get('a3', v.connack({ present: false })),
  ]),
  server({ v5: '3.14.2-2' }, 'a session without expiry cannot get one there', (v) => [
    ...opened(v, 'a'),
    send('a', v.disconnect(0, [P.sessionExpiry(10)])),
    ...cut(v, 'a', 0x82),
  ]),
  server(
    { v5: '3.14.4-1 3.14.4-2', v3: '3.14.4-1 3.14.4-2' },
    'what a client sends behind DISCONNECT does nothing, and its connection ends',
    (v) => [
      ...subscribed(v, 'b', { '#': 0 }),
      ...opened(v, 'a'),
      send('a', v.publish('t', 'x'), v.disconnect(), v.publish('t', 'y'), v.publish('t', 'z', { qos: 1, id: 1 })),
      seeEnd('a'),
      get('b', v.publish('t', 'x')),
      getNothing('b'),
    ],
  ),
  server({ v5: '3.14.4-1 3.14.4-2 4.13.2-1' }, 'behind our DISCONNECT nothing comes, and the connection ends', (v) => [
    ...subscribed(v, 'a', { t: 0 }),
    send('a', v.publish('t', 'x'), v.connect('a'), v.publish('t', 'y'), PINGREQ),
    get('a', v.publish('t', 'x'), v.disconnect(0x82)),
    seeEnd('a'),
  ]),
  client(
    { v5: '3.14.4-1 3.14.4-2', v3: '3.14.4-1 3.14.4-2' },
    'a bridge that is not wanted any more says so last, and ends the connection',
    (v) => [
      ...bridged(v, { routes: ['up'] }),
      publish('sensors/1', 'x'),
      get('up', v.publish('sensors/1', 'x', { qos: 1, id: 1 })),
      restart,
      get('up', v.disconnect()),
      seeEnd('up'),
    ],
    { routes: ['up'] },
  ),
  server({ v5: '3.14.4-3', v3: '3.14.4-3' }, 'DISCONNECT discards the will', (v) => [
    ...subscribed(v, 'b', { will: 0 }),
    ...opened(v, 'a', { will: { topic: 'will', payload: 'gone' } }),
    send('a', v.disconnect()),
    seeEnd('a'),
    getNothing('b'),
  ]),
  server({ v5: '3.14.4-3' }, 'also with a delay', (v) => [
    ...subscribed(v, 'b', { will: 0 }),
    ...opened(v, 'a', { ...kept(v), will: { topic: 'will', payload: 'gone', props: [P.willDelay(5)] } }),
    send('a', v.disconnect()),
    seeEnd('a'),
    wait(3_700_000),
    getNothing('b'),
  ]),
  server(
    { v5: '4.13.1-1 4.13.2-1', v3: '4.8.0-1' },
    'each kind of violation ends the connection on which it came, and no other',
    (v) => [
      ...subscribed(v, 'b', { '#': 0 }),
      ...refused(v, 0x82, packet(0x20, '0000', noProps(v)), PINGRESP, packet(0x90, u16(1), noProps(v), '00')),
      ...[packet(0xc0, '00'), packet(0x40, '00')].flatMap((hex, i) => [
        ...opened(v, `c${i}`),
        send(`c${i}`, hex),
        ...cut(v, `c${i}`, 0x81),
      ]),
      send('b', PINGREQ),
      get('b', PINGRESP),
    ],
  ),
  server({ v3: '4.8.0-1' }, 'packet types that are reserved', (v) => [
    ...opened(v, 'a'),
    send('a', packet(0xf0)),
    seeEnd('a'),
    ...opened(v, 'b'),
    send('b', packet(0x00)),
    seeEnd('b'),
  ]),
  client({ v3: '4.8.0-1', v5: '4.13.2-1' }, 'a broker that breaks the protocol is left', (v) => [
    ...bridged(v),
    send('up', packet(0x40, u16(0))),
    ...cut(v, 'up', 0x81),
  ]),
  client({ v5: '4.13.2-1' }, 'a broker that disconnects is left', (v) => [
    ...bridged(v),
    send('up', v.disconnect(0x8b)),
    seeEnd('up'),
  ]),
  client(
    { v5: '4.13.2-1', v3: '3.2.2-5' },
    'so is one that refuses',
    (v) => [
      { does: 'meet', who: 'up' },
      get('up', bridgedConnect(v)),
      send('up', v.connack({ reason: v.either(0x87, 5) })),
      seeEnd('up'),
    ],
    { routes: ['up'] },
  ),
  server(
    { v3: '4.8.0-2' },
    'a packet that is larger than the server takes ends its connection',
    (v) => [
      ...opened(v, 'a'),
      send('a', v.publish('t', 'x'.repeat(100))),
      seeEnd('a'),
      ...opened(v, 'b'),
      breakOff('b'),
    ],
    { policy: { limits: { maxPacketBytes: 100 } } },
  ),
  server(
    { v5: '4.13.1-1' },
    'and tells 5.0 so',
    (v) => [
      send('a', v.connect('a')),
      get('a', v.connack({ props: [P.topicAliasMaximum(32), P.maximumPacketSize(100)] })),
      send('a', v.publish('t', 'x'.repeat(100))),
      ...cut(v, 'a', 0x95),
    ],
    { policy: { limits: { maxPacketBytes: 100 } } },
  ),
]
function bridgedConnect(v: Dialect): string {
  const [, step] = bridged(v, { routes: ['up'] })
  return step?.does === 'get' ? step.packets[0]! : ''
}
