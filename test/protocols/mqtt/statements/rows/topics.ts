/** Topics, shared subscriptions and conformance: 5.0 §4.7 to §4.9; 3.1.1 §4.7, §7. */
import { type Dialect, P, packet, props, str, u16 } from '../bytes.ts'
import {
  breakOff,
  client,
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
  type Unseen,
  unseen,
} from '../row.ts'
import { bridged } from './bridge.ts'

const cut = (v: Dialect, who: string, reason: number): readonly Step[] =>
  v.is5 ? [get(who, v.disconnect(reason)), seeEnd(who)] : [seeEnd(who)]
const refusedFilters = (v: Dialect, ...filters: readonly string[]): readonly Step[] =>
  filters.flatMap((filter, i) => [
    ...opened(v, `a${i}`),
    send(`a${i}`, v.subscribe(1, { [filter]: 0 })),
    ...cut(v, `a${i}`, 0x81),
    ...opened(v, `b${i}`),
    send(`b${i}`, v.unsubscribe(1, filter)),
    ...cut(v, `b${i}`, 0x81),
  ])
/** Of these topics, a subscriber to `filter` gets `matching`. */
const matched = (
  v: Dialect,
  filter: string,
  topics: readonly string[],
  matching: readonly string[],
): readonly Step[] => [
  ...subscribed(v, 'a', { [filter]: 0 }),
  send('a', ...topics.map((topic) => v.publish(topic, 'x'))),
  ...(matching.length > 0 ? [get('a', ...matching.map((topic) => v.publish(topic, 'x')))] : []),
  getNothing('a'),
]
const noProps = (v: Dialect): string => (v.is5 ? props() : '')
/** Two members of a shared subscription, with kept sessions. */
const members = (v: Dialect, qos: number): readonly Step[] => [
  ...['m', 'n'].flatMap((who) => [
    send(who, v.connect(who, kept(v)), v.subscribe(1, { '$share/g/t': qos })),
    get(who, v.connack(), v.suback(1, qos)),
  ]),
  ...opened(v, 'a'),
]

export const TOPICS: readonly Row[] = [
  server({ v5: '4.7.0-1', v3: '4.7.1-1' }, 'a wildcard in a Will Topic', (v) => [
    send('a', v.connect('a', { will: { topic: 'a/#', payload: 'x' } })),
    seeEnd('a'),
  ]),
  server({ v5: '4.7.1-1', v3: '4.7.1-2' }, '# that is not last, or not a level', (v) =>
    refusedFilters(v, '#/a', 'a/#/b', 'a#', 'a/b#', '##', 'a/##'),
  ),
  server({ v5: '4.7.1-1', v3: '4.7.1-2' }, '# matches its parent and all below', (v) =>
    matched(v, 'a/b/#', ['a', 'a/b', 'a/b/', 'a/b/c/d', 'a/bc'], ['a/b', 'a/b/', 'a/b/c/d']),
  ),
  server({ v5: '4.7.1-2', v3: '4.7.1-3' }, '+ that is not a whole level', (v) =>
    refusedFilters(v, 'a+', '+a', 'a/+b/c', '++', 'a/+#'),
  ),
  server({ v5: '4.7.1-2', v3: '4.7.1-3' }, '+ matches one level, also an empty one', (v) =>
    matched(v, '+/b/+', ['a/b/c', 'a/b', '/b/c', 'a/b/', '/b/', 'a/b/c/d'], ['a/b/c', '/b/c', 'a/b/', '/b/']),
  ),
  server(
    { v5: '4.7.2-1', v3: '4.7.2-1' },
    'filters that begin with a wildcard do not match topics that begin with $',
    (v) =>
      ['#', '+/a', '+/#'].flatMap((filter, i) => [
        ...subscribed(v, `a${i}`, { [filter]: 0 }),
        send(`a${i}`, v.publish('$mine/a', 'x')),
        getNothing(`a${i}`),
      ]),
  ),
  server({ v5: '4.7.2-1', v3: '4.7.2-1' }, 'nor as retained; those that name it do', (v) => [
    ...opened(v, 'a'),
    send('a', v.publish('$mine/a', 'x', { retain: true })),
    ...subscribed(v, 'b', { '#': 0, '$mine/#': 0 }),
    get('b', v.publish('$mine/a', 'x', { retain: true })),
  ]),
  server({ v5: '4.7.3-1', v3: '4.7.3-1' }, 'an empty topic filter', (v) => refusedFilters(v, '')),
  server({ v3: '4.7.3-1' }, 'an empty topic name', (v) => [
    ...opened(v, 'a'),
    send('a', v.publish('', 'x')),
    seeEnd('a'),
  ]),
  server({ v5: '4.7.3-1' }, 'an empty topic name without an alias', (v) => [
    ...opened(v, 'a'),
    send('a', v.publish('', 'x')),
    ...cut(v, 'a', 0x82),
  ]),
  server(
    { v5: '4.7.3-1 4.7.3-4', v3: '4.7.3-1 4.7.3-4' },
    'one character is enough, a space and a separator too',
    (v) =>
      [' ', '/', '/a', 'a/', 'a//b', '\u{1f321}'].flatMap((topic, i) => [
        ...subscribed(v, `a${i}`, { [topic]: 0 }),
        send(`a${i}`, v.publish(topic, 'x')),
        get(`a${i}`, v.publish(topic, 'x')),
      ]),
  ),
  server({ v5: '4.7.3-2', v3: '4.7.3-2' }, 'U+0000 in a Will Topic and in UNSUBSCRIBE', (v) => [
    send(
      'a',
      packet(
        0x10,
        str('MQTT'),
        v.is5 ? '05' : '04',
        '06 0000',
        noProps(v),
        str('a'),
        noProps(v),
        '0003 610062',
        str('x'),
      ),
    ),
    seeEnd('a'),
    ...opened(v, 'b'),
    send('b', packet(0xa2, u16(1), noProps(v), '0003 610062')),
    ...cut(v, 'b', 0x81),
  ]),
  server({ v5: '4.7.3-3', v3: '4.7.3-3' }, 'topics of 65,535 bytes', (v) => {
    const topic = 'x'.repeat(65_535)
    return [...subscribed(v, 'a', { [topic]: 0 }), send('a', v.publish(topic, 'x')), get('a', v.publish(topic, 'x'))]
  }),
  server(
    { v5: '4.7.3-4', v3: '4.7.3-4' },
    'topics are compared as they are: letters, separators and Unicode forms',
    (v) => [...matched(v, 'ä/B', ['ä/B', 'a\u0308/B', 'Ä/B', 'ä/b', '/ä/B', 'ä/B/', 'ä//B'], ['ä/B'])],
  ),
  server({ v5: '4.8.2-1' }, 'a shared subscription without a name or a filter', (v) =>
    refusedFilters(v, '$share/', '$share/g', '$share//t', '$share/g/'),
  ),
  server({ v5: '4.8.2-2' }, 'wildcards in its name', (v) =>
    refusedFilters(v, '$share/g+/t', '$share/#/t', '$share/+/t'),
  ),
  server({ v5: '4.8.2-1 4.8.2-2' }, 'its filter is one like all', (v) => [
    ...refusedFilters(v, '$share/g/a#', '$share/g/#/a'),
    ...subscribed(v, 'a', { '$share/g//t': 0, '$shared/g/t': 0 }),
    send('a', v.publish('/t', 'x'), v.publish('$shared/g/t', 'y')),
    get('a', v.publish('/t', 'x'), v.publish('$shared/g/t', 'y')),
  ]),
  server({ v5: '4.8.2-3' }, 'each member gets the QoS that it was granted', (v) => [
    ...subscribed(v, 'm', { '$share/g/t': 0 }),
    ...subscribed(v, 'n', { '$share/g/t': 1 }),
    ...opened(v, 'a'),
    send('a', v.publish('t', 'x', { qos: 2, id: 1 }), v.publish('t', 'y', { qos: 2, id: 2 })),
    get('a', v.pubrec(1), v.pubrec(2)),
    get('m', v.publish('t', 'x')),
    get('n', v.publish('t', 'y', { qos: 1, id: 1 })),
  ]),
  server({ v5: '4.8.2-4' }, 'QoS 2 that was begun is completed with the same member', (v) => [
    ...members(v, 2),
    send('a', v.publish('t', 'x', { qos: 2, id: 1 })),
    get('a', v.pubrec(1)),
    get('m', v.publish('t', 'x', { qos: 2, id: 1 })),
    breakOff('m'),
    getNothing('n'),
    send('m2', v.connect('m', kept(v))),
    get('m2', v.connack({ present: true }), v.publish('t', 'x', { qos: 2, id: 1, dup: true })),
    send('m2', v.pubrec(1)),
    get('m2', v.pubrel(1)),
    getNothing('n'),
  ]),
  server({ v5: '4.8.2-5' }, 'and goes to nobody else when its session ends', (v) => [
    ...members(v, 2),
    send('a', v.publish('t', 'x', { qos: 2, id: 1 })),
    get('a', v.pubrec(1)),
    get('m', v.publish('t', 'x', { qos: 2, id: 1 })),
    send('m', v.disconnect(0, [P.sessionExpiry(0)])),
    seeEnd('m'),
    getNothing('n'),
  ]),
  server({ v5: '4.8.2-6' }, 'what a member refuses goes to nobody else', (v) => [
    ...members(v, 2),
    send('a', v.publish('t', 'x', { qos: 1, id: 1 }), v.publish('t', 'y', { qos: 2, id: 2 })),
    get('a', v.puback(1), v.pubrec(2)),
    get('m', v.publish('t', 'x', { qos: 1, id: 1 })),
    get('n', v.publish('t', 'y', { qos: 2, id: 1 })),
    send('m', v.puback(1, 0x83)),
    send('n', v.pubrec(1, 0x83)),
    getNothing('m'),
    getNothing('n'),
    send('m', v.disconnect(0, [P.sessionExpiry(0)])),
    seeEnd('m'),
    getNothing('n'),
  ]),
  server({ v3: '7.0.0-1' }, 'what comes from a bridge is for clients of the server', (v) =>
    subscribed(v, 'a', { '#': 0 }),
  ),
  client(
    { v3: '7.0.0-1 7.1.2-1', v5: '4.2-1' },
    'a server that is a client of others speaks as one, byte by byte too',
    (v) => [
      ...bridged(v),
      ...(v.publish('commands/1', 'x', { qos: 1, id: 1 }).match(/../g) ?? []).map((byte) => send('up', byte)),
      get('up', v.puback(1)),
    ],
  ),
]
export const TOPICS_UNSEEN: readonly Unseen[] = [
  unseen(
    { v3: '7.0.0-2' },
    'inner',
    'nothing here needs an extension: all rows of this table speak the standard alone',
  ),
]
