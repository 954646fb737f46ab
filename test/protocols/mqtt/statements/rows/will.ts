/** The Will Message: 5.0 and 3.1.1 §3.1.2.5 to §3.1.2.7, §3.1.3.2 to §3.1.3.4. */
import { bin, type Dialect, P, packet, props, str, u8, type Will } from '../bytes.ts'
import {
  breakOff,
  get,
  getNothing,
  kept,
  opened,
  type Row,
  seeEnd,
  send,
  server,
  type Step,
  subscribed,
  wait,
} from '../row.ts'

const raw = (v: Dialect, flags: number, ...payload: readonly string[]): string =>
  packet(0x10, str('MQTT'), u8(v.level), u8(flags), '0000', v.is5 ? props() : '', str('a'), ...payload)
const unanswered = (...connects: readonly string[]): readonly Step[] =>
  connects.flatMap((hex, i) => [send(`a${i}`, hex), seeEnd(`a${i}`)])
const WILL: Will = { topic: 'will', payload: 'gone' }
/** `b` has subscribed to the will of `a`, which is connected. */
const begun = (v: Dialect, will: Will, p: Parameters<Dialect['connect']>[1] = {}): readonly Step[] => [
  ...subscribed(v, 'b', { will: 2 }),
  ...opened(v, 'a', { ...p, will }),
]
const delayed = (sec: number): Will => ({ ...WILL, props: [P.willDelay(sec)] })

export const WILLS: readonly Row[] = [
  server(
    { v5: '3.1.2-7 3.1.2-8 3.1.2-14', v3: '3.1.2-8 3.1.2-16' },
    'the will is published when the connection breaks',
    (v) => [...begun(v, WILL), getNothing('b'), breakOff('a'), get('b', v.publish('will', 'gone'))],
  ),
  server({ v5: '3.1.2-8', v3: '3.1.2-8' }, 'also when the server ends it, for a violation or a silence', (v) => [
    ...begun(v, WILL),
    send('a', v.connect('a')),
    ...(v.is5 ? [get('a', v.disconnect(0x82))] : []),
    seeEnd('a'),
    get('b', v.publish('will', 'gone')),
    ...opened(v, 'c', { keepAlive: 10, will: WILL }),
    wait(16_000),
    ...(v.is5 ? [get('c', v.disconnect(0x8d))] : []),
    seeEnd('c'),
    get('b', v.publish('will', 'gone')),
  ]),
  server({ v5: '3.1.2-8', v3: '3.1.2-8' }, 'also when another connection takes the client id', (v) => [
    ...begun(v, WILL),
    send('a2', v.connect('a')),
    ...(v.is5 ? [get('a', v.disconnect(0x8e))] : []),
    seeEnd('a'),
    get('a2', v.connack()),
    get('b', v.publish('will', 'gone')),
  ]),
  server({ v5: '3.1.2-8 3.1.2-10 3.14.4-3', v3: '3.1.2-8 3.1.2-10 3.14.4-3' }, 'DISCONNECT removes it', (v) => [
    ...begun(v, WILL),
    send('a', v.disconnect()),
    seeEnd('a'),
    getNothing('b'),
  ]),
  server({ v5: '3.1.2-8' }, 'DISCONNECT with 0x04, or with an error, does not', (v) =>
    [0x04, 0x80, 0x82].flatMap((reason, i) => [
      ...(i === 0 ? subscribed(v, 'b', { will: 2 }) : []),
      ...opened(v, `a${i}`, { will: WILL }),
      send(`a${i}`, v.disconnect(reason)),
      seeEnd(`a${i}`),
      get('b', v.publish('will', 'gone')),
    ]),
  ),
  server({ v5: '3.1.2-8' }, 'it waits for the Will Delay Interval', (v) => [
    ...begun(v, delayed(10), kept(v)),
    breakOff('a'),
    wait(9_900),
    getNothing('b'),
    wait(200),
    get('b', v.publish('will', 'gone')),
  ]),
  server({ v5: '3.1.2-8' }, 'but not longer than the session lasts', (v) => [
    ...begun(v, delayed(10), { clean: false, props: [P.sessionExpiry(5)] }),
    breakOff('a'),
    wait(4_900),
    getNothing('b'),
    wait(200),
    get('b', v.publish('will', 'gone')),
    wait(10_000),
    getNothing('b'),
    ...opened(v, 'c', { will: delayed(10) }),
    breakOff('c'),
    get('b', v.publish('will', 'gone')),
  ]),
  server({ v5: '3.1.2-8 3.1.3-9' }, 'a new connection within the delay keeps it back', (v) => [
    ...begun(v, delayed(10), kept(v)),
    breakOff('a'),
    wait(9_000),
    send('a2', v.connect('a', kept(v))),
    get('a2', v.connack({ present: true })),
    wait(20_000),
    getNothing('b'),
  ]),
  server({ v5: '3.1.2-8' }, 'a clean start within the delay ends the session, and so publishes it', (v) => [
    ...begun(v, delayed(10), kept(v)),
    breakOff('a'),
    wait(5_000),
    send('a2', v.connect('a')),
    get('a2', v.connack()),
    get('b', v.publish('will', 'gone')),
    wait(20_000),
    getNothing('b'),
  ]),
  server({ v5: '3.1.2-9', v3: '3.1.2-9' }, 'the Will Flag without a will', (v) =>
    unanswered(raw(v, 0x06), raw(v, 0x06, v.is5 ? props() : '', str('will'))),
  ),
  server({ v5: '3.1.2-10', v3: '3.1.2-10' }, 'once published it is gone: the next connection has none', (v) => [
    ...begun(v, WILL, kept(v)),
    breakOff('a'),
    get('b', v.publish('will', 'gone')),
    send('a2', v.connect('a', kept(v))),
    get('a2', v.connack({ present: true })),
    breakOff('a2'),
    getNothing('b'),
  ]),
  server({ v5: '3.1.2-11', v3: '3.1.2-11 3.1.2-13' }, 'a Will QoS without a will', (v) =>
    unanswered(raw(v, 0x0a), raw(v, 0x12)),
  ),
  server({ v3: '3.1.2-11' }, 'a will without its flag', (v) => unanswered(raw(v, 0x02, str('will'), str('gone')))),
  server({ v3: '3.1.2-12' }, 'without a will nothing is published', (v) => [
    ...subscribed(v, 'b', { '#': 0 }),
    ...opened(v, 'a'),
    breakOff('a'),
    getNothing('b'),
  ]),
  server({ v5: '3.1.2-12', v3: '3.1.2-14' }, 'Will QoS 1 and 2, and never 3', (v) => [
    ...subscribed(v, 'b', { will: 2 }),
    ...[1, 2].flatMap((qos) => [
      ...opened(v, `a${qos}`, { will: { ...WILL, qos } }),
      breakOff(`a${qos}`),
      get('b', v.publish('will', 'gone', { qos, id: qos })),
    ]),
    send('a', raw(v, 0x1e, v.is5 ? props() : '', str('will'), str('gone'))),
    seeEnd('a'),
  ]),
  server({ v5: '3.1.2-13', v3: '3.1.2-11 3.1.2-15' }, 'Will Retain without a will', (v) => unanswered(raw(v, 0x22))),
  server({ v5: '3.1.2-14', v3: '3.1.2-16' }, 'a will that is not retained is not kept for later', (v) => [
    ...opened(v, 'a', { will: WILL }),
    breakOff('a'),
    ...subscribed(v, 'b', { will: 0 }),
    getNothing('b'),
  ]),
  server({ v5: '3.1.2-15', v3: '3.1.2-17' }, 'a will that is retained is', (v) => [
    ...opened(v, 'a', { will: { ...WILL, retain: true } }),
    breakOff('a'),
    ...subscribed(v, 'b', { will: 0 }),
    get('b', v.publish('will', 'gone', { retain: true })),
  ]),
  server({ v5: '3.1.3-10' }, 'its properties come with it, User Properties in their order', (v) => {
    const own = [
      P.payloadFormat(1),
      P.contentType('text/plain'),
      P.responseTopic('answers'),
      P.correlation('c0ffee'),
      P.user('b', '2'),
      P.user('a', '1'),
      P.user('b', '1'),
    ]
    return [
      ...begun(v, { ...WILL, props: [P.willDelay(0), ...own.slice(0, 3), P.messageExpiry(60), ...own.slice(3)] }),
      breakOff('a'),
      get('b', v.publish('will', 'gone', { props: [P.messageExpiry(60), ...own] })),
    ]
  }),
  server(
    { v5: '3.1.3-11', v3: '3.1.3-10' },
    'a Will Topic that is not UTF-8, has U+0000, a wildcard, or nothing',
    (v) =>
      unanswered(
        ...['ff', '610062', '612f23', '2b', ''].map((hex) => raw(v, 0x06, v.is5 ? props() : '', bin(hex), str('gone'))),
      ),
  ),
]
