/** Topic and properties of PUBLISH: 5.0 §3.3.2; 3.1.1 §3.3.2. */
import { bin, type Dialect, P, packet, props, str, u16 } from '../bytes.ts'
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
  wait,
} from '../row.ts'
import { bridged } from './bridge.ts'

const cut = (v: Dialect, who: string, reason: number): readonly Step[] =>
  v.is5 ? [get(who, v.disconnect(reason)), seeEnd(who)] : [seeEnd(who)]
/** Each on a connection of its own. */
const refused = (v: Dialect, reason: number, ...hex: readonly string[]): readonly Step[] =>
  hex.flatMap((one, i) => [...opened(v, `a${i}`), send(`a${i}`, one), ...cut(v, `a${i}`, reason)])
/** `p` comes to a subscriber that is there, to one that was away, and as retained, as it was. */
const unaltered = (v: Dialect, ...own: readonly string[]): readonly Step[] => [
  send('b', v.connect('b', kept(v)), v.subscribe(1, { t: 1 })),
  get('b', v.connack(), v.suback(1, 1)),
  breakOff('b'),
  ...subscribed(v, 'c', { t: 0 }),
  ...opened(v, 'a'),
  send('a', v.publish('t', 'x', { qos: 1, id: 1, retain: true, props: own })),
  get('a', v.puback(1)),
  get('c', v.publish('t', 'x', { props: own })),
  send('b2', v.connect('b', kept(v))),
  get('b2', v.connack({ present: true }), v.publish('t', 'x', { qos: 1, id: 1, props: own })),
  ...subscribed(v, 'd', { t: 0 }),
  get('d', v.publish('t', 'x', { retain: true, props: own })),
]
/** It passes the bridge both ways. */
const bridgedUnaltered = (v: Dialect, ...own: readonly string[]): readonly Step[] => [
  ...bridged(v),
  send('up', v.publish('commands/1', 'x', { qos: 1, id: 1, props: own })),
  get('up', v.puback(1)),
]

export const PROPERTIES: readonly Row[] = [
  server({ v5: '3.3.2-1', v3: '3.3.2-1' }, 'a PUBLISH without a topic name, and one whose name goes beyond it', (v) =>
    refused(v, 0x81, packet(0x30), packet(0x30, u16(9), '61')),
  ),
  server({ v5: '3.3.2-2 4.7.0-1', v3: '3.3.2-2 4.7.1-1' }, 'wildcards in a topic name', (v) =>
    refused(v, 0x90, ...['#', '+', 'a/#', 'a/+/b', 'a+', '#a'].map((topic) => v.publish(topic, 'x'))),
  ),
  client({ v5: '3.3.2-2 4.7.0-1', v3: '3.3.2-2 4.7.1-1' }, 'wildcards from a broker', (v) => [
    ...bridged(v),
    send('up', v.publish('commands/#', 'x')),
    ...cut(v, 'up', 0x90),
  ]),
  server(
    { v5: '3.3.2-3', v3: '3.3.2-3' },
    'a subscriber gets the topics that its filters match, by their names, and no others',
    (v) => [
      ...subscribed(v, 'b', { 'a/+': 0, 'c/#': 0 }),
      ...opened(v, 'a'),
      send('a', ...['a', 'a/b', 'a/b/c', 'c', 'c/d/e', 'A/b', 'cc'].map((topic) => v.publish(topic, 'x'))),
      get('b', v.publish('a/b', 'x'), v.publish('c', 'x'), v.publish('c/d/e', 'x')),
    ],
  ),
  server({ v5: '3.3.2-4' }, 'Payload Format Indicator', (v) => unaltered(v, P.payloadFormat(1))),
  server({ v5: '3.3.2-4' }, 'Payload Format Indicator 0 is told as it came', (v) => unaltered(v, P.payloadFormat(0))),
  server({ v5: '3.3.2-5' }, 'what has expired is not delivered to who was away', (v) => [
    send('b', v.connect('b', kept(v)), v.subscribe(1, { t: 1 })),
    get('b', v.connack(), v.suback(1, 1)),
    breakOff('b'),
    ...opened(v, 'a'),
    send(
      'a',
      v.publish('t', 'x', { qos: 1, id: 1, props: [P.messageExpiry(10)] }),
      v.publish('t', 'y', { qos: 1, id: 2 }),
    ),
    get('a', v.puback(1), v.puback(2)),
    wait(10_001),
    send('b2', v.connect('b', kept(v))),
    get('b2', v.connack({ present: true }), v.publish('t', 'y', { qos: 1, id: 2 })),
  ]),
  server({ v5: '3.3.2-5' }, 'nor as retained, nor to who has no room in time', (v) => [
    ...opened(v, 'c', { props: [P.receiveMaximum(1)] }),
    send('c', v.subscribe(1, { t: 1 })),
    get('c', v.suback(1, 1)),
    ...opened(v, 'a'),
    send(
      'a',
      v.publish('t', 'w', { qos: 1, id: 1 }),
      v.publish('t', 'x', { qos: 1, id: 2, retain: true, props: [P.messageExpiry(10)] }),
    ),
    get('a', v.puback(1), v.puback(2)),
    get('c', v.publish('t', 'w', { qos: 1, id: 1 })),
    wait(10_001),
    send('c', v.puback(1)),
    getNothing('c'),
    ...subscribed(v, 'd', { t: 1 }),
    getNothing('d'),
  ]),
  server({ v5: '3.3.2-6' }, 'Message Expiry Interval is what is left of it', (v) => [
    send('b', v.connect('b', kept(v)), v.subscribe(1, { t: 1 })),
    get('b', v.connack(), v.suback(1, 1)),
    breakOff('b'),
    ...opened(v, 'a'),
    send('a', v.publish('t', 'x', { qos: 1, id: 1, retain: true, props: [P.messageExpiry(100)] })),
    get('a', v.puback(1)),
    wait(30_000),
    send('b2', v.connect('b', kept(v))),
    get('b2', v.connack({ present: true }), v.publish('t', 'x', { qos: 1, id: 1, props: [P.messageExpiry(70)] })),
    wait(30_000),
    ...subscribed(v, 'd', { t: 0 }),
    get('d', v.publish('t', 'x', { retain: true, props: [P.messageExpiry(40)] })),
  ]),
  server({ v5: '3.3.2-7' }, 'an alias of the connection before', (v) => [
    ...opened(v, 'a'),
    send('a', v.publish('t', 'x', { qos: 1, id: 1, props: [P.topicAlias(1)] })),
    get('a', v.puback(1)),
    breakOff('a'),
    send('a2', v.connect('a')),
    get('a2', v.connack()),
    send('a2', v.publish('', 'x', { props: [P.topicAlias(1)] })),
    ...cut(v, 'a2', 0x82),
  ]),
  client(
    { v5: '3.3.2-7' },
    'aliases begin anew with each connection',
    (v) => [
      ...bridged(v, { routes: ['up'], connack: [P.topicAliasMaximum(5)] }),
      publish('sensors/one', 'x'),
      get('up', v.publish('sensors/one', 'x', { qos: 1, id: 1, props: [P.topicAlias(1)] })),
      send('up', v.puback(1)),
      breakOff('up'),
      ...bridged(v, { routes: ['up'], connack: [P.topicAliasMaximum(5)], who: 'up2', present: true }),
      publish('sensors/one', 'y'),
      get('up2', v.publish('sensors/one', 'y', { qos: 1, id: 2, props: [P.topicAlias(1)] })),
    ],
    { routes: ['up'] },
  ),
  server({ v5: '3.3.2-8' }, 'alias 0', (v) => refused(v, 0x94, v.publish('t', 'x', { props: [P.topicAlias(0)] }))),
  server({ v5: '3.3.2-9' }, 'an alias above what we announce', (v) =>
    refused(
      v,
      0x94,
      v.publish('t', 'x', { props: [P.topicAlias(33)] }),
      v.publish('t', 'x', { props: [P.topicAlias(0xffff)] }),
    ),
  ),
  client({ v5: '3.3.2-10 3.3.2-11' }, 'a broker that sends an alias to a client that takes none', (v) => [
    ...bridged(v),
    send('up', v.publish('commands/1', 'x', { props: [P.topicAlias(1)] })),
    ...cut(v, 'up', 0x94),
  ]),
  server({ v5: '3.3.2-12' }, 'all aliases that we announce, also when they change their topic', (v) => [
    ...subscribed(v, 'b', { '#': 0 }),
    ...opened(v, 'a'),
    ...[1, 2, 31, 32].flatMap((alias) => [
      send(
        'a',
        v.publish(`t${alias}`, 'x', { props: [P.topicAlias(alias)] }),
        v.publish('', 'y', { props: [P.topicAlias(alias)] }),
      ),
      get('b', v.publish(`t${alias}`, 'x'), v.publish(`t${alias}`, 'y')),
    ]),
    send(
      'a',
      v.publish('other', 'x', { props: [P.topicAlias(32)] }),
      v.publish('', 'y', { props: [P.topicAlias(32)] }),
    ),
    get('b', v.publish('other', 'x'), v.publish('other', 'y')),
  ]),
  server({ v5: '3.3.2-13' }, 'a Response Topic that is not UTF-8', (v) =>
    refused(v, 0x81, ...['ff', '610062'].map((hex) => packet(0x30, str('t'), props(`08${bin(hex)}`), '78'))),
  ),
  server({ v5: '3.3.2-14' }, 'a Response Topic with wildcards, or empty', (v) =>
    refused(v, 0x82, ...['a/#', '+', ''].map((topic) => v.publish('t', 'x', { props: [P.responseTopic(topic)] }))),
  ),
  server({ v5: '3.3.2-15' }, 'Response Topic', (v) => unaltered(v, P.responseTopic('answers/1'))),
  server({ v5: '3.3.2-16' }, 'Correlation Data', (v) => unaltered(v, P.correlation('00ff80c0'), P.responseTopic('r'))),
  server({ v5: '3.3.2-17 3.3.2-18' }, 'User Properties, also repeated, in their order', (v) =>
    unaltered(v, P.user('b', '2'), P.user('a', '1'), P.user('b', '1'), P.user('', '')),
  ),
  server({ v5: '3.3.2-19' }, 'a Content Type that is not UTF-8', (v) =>
    refused(v, 0x81, ...['ff', '610062'].map((hex) => packet(0x30, str('t'), props(`03${bin(hex)}`), '78'))),
  ),
  server({ v5: '3.3.2-20' }, 'Content Type', (v) => unaltered(v, P.contentType('text/plain; charset=utf-8'))),
  client({ v5: '3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-20' }, 'a message with all of them comes down', (v) =>
    bridgedUnaltered(
      v,
      P.payloadFormat(1),
      P.contentType('x'),
      P.responseTopic('r'),
      P.correlation('00'),
      P.user('a', 'b'),
    ),
  ),
  server({ v5: '3.3.2-6 3.3.2-17' }, 'a property that stands twice, or where it does not belong', (v) => [
    ...refused(v, 0x82, v.publish('t', 'x', { props: [P.messageExpiry(1), P.messageExpiry(1)] })),
    ...[v.publish('t', 'x', { props: [P.sessionExpiry(1)] }), v.publish('t', 'x', { props: ['7f00'] })].flatMap(
      (hex, i) => [...opened(v, `b${i}`), send(`b${i}`, hex), ...cut(v, `b${i}`, 0x81)],
    ),
  ]),
]
