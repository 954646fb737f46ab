/** Enhanced authentication: 5.0 §3.15, §4.12. */
import { ScramClient } from '../../../../helpers/mqtt/scram.ts'
import { ANNOUNCED, type Dialect, P, packet, props } from '../bytes.ts'
import { client, get, opened, type Row, seeEnd, send, server, type Step } from '../row.ts'
import { bridged } from './bridge.ts'

const METHOD = 'SCRAM-SHA-256'
const CONTINUE = 0x18
const ANEW = 0x19
const hex = (bytes: Uint8Array | string): string => Buffer.from(bytes).toString('hex')
const USERS = { users: true } as const
/** Authentication Data of the AUTH packet that came last. */
const dataOf = (last: string): string =>
  Buffer.from(last.slice(last.indexOf(hex(METHOD)) + METHOD.length * 2 + 6), 'hex').toString()
const ANY_STEP = packet(0xf0, '18', '..'.repeat(102))
const ANY_LAST = `16 002e ${'..'.repeat(46)}`
/** `a` proves to be `ana` up to the last word of the server, which is AUTH or CONNACK. */
const exchange = (v: Dialect, first: (data: string) => string): readonly Step[] => {
  const scram = new ScramClient('ana', 'secret')
  return [
    send('a', first(hex(scram.first))),
    get('a', ANY_STEP),
    send('a', (lastAuth) => v.auth(CONTINUE, P.method(METHOD), P.data(hex(scram.final(dataOf(lastAuth)))))),
  ]
}
const connected = (v: Dialect): readonly Step[] => [
  ...exchange(v, (data) => v.connect('a', { props: [P.method(METHOD), P.data(data)] })),
  get('a', v.connack({ props: [P.method(METHOD), ANY_LAST, ...ANNOUNCED] })),
]
const begun = (v: Dialect): readonly Step[] =>
  exchange(v, (data) => v.connect('a', { props: [P.method(METHOD), P.data(data)] })).slice(0, 2)

export const AUTHENTICATIONS: readonly Row[] = [
  server({ v5: '3.15.1-1' }, 'reserved bits of AUTH', (v) =>
    ['f100', 'f200', 'ff00'].flatMap((auth, i) => [
      ...opened(v, `a${i}`),
      send(`a${i}`, auth),
      get(`a${i}`, v.disconnect(0x81)),
      seeEnd(`a${i}`),
    ]),
  ),
  server(
    { v5: '3.15.2-1 4.12.0-2 4.12.0-3 4.12.0-5' },
    'the server asks with 0x18, the client answers with 0x18, CONNACK has the method',
    (v) => connected(v),
    USERS,
  ),
  server(
    { v5: '3.15.2-1 4.12.0-3' },
    'a client that answers with another reason code',
    (v) => [
      ...begun(v),
      send('a', v.auth(ANEW, P.method(METHOD), P.data('00'))),
      get('a', v.connack({ reason: 0x82 })),
      seeEnd('a'),
    ],
    USERS,
  ),
  server({ v5: '3.15.2-2 3.15.2-3' }, 'AUTH carries method and data alone', (v) => begun(v), USERS),
  server(
    { v5: '4.12.0-1' },
    'a method that is not supported',
    (v) => [
      send('a', v.connect('a', { props: [P.method('GS2-KRB5')] })),
      get('a', v.connack({ reason: 0x8c })),
      seeEnd('a'),
    ],
    USERS,
  ),
  server({ v5: '4.12.0-1' }, 'any method, where there are no users', (v) => [
    send('a', v.connect('a', { props: [P.method(METHOD)] })),
    get('a', v.connack({ reason: 0x8c })),
    seeEnd('a'),
  ]),
  server(
    { v5: '4.12.0-4' },
    'a proof that is wrong',
    (v) => {
      const scram = new ScramClient('ana', 'wrong')
      return [
        send('a', v.connect('a', { props: [P.method(METHOD), P.data(hex(scram.first))] })),
        get('a', ANY_STEP),
        send('a', (lastAuth) => v.auth(CONTINUE, P.method(METHOD), P.data(hex(scram.final(dataOf(lastAuth)))))),
        get('a', v.connack({ reason: 0x86 })),
        seeEnd('a'),
      ]
    },
    USERS,
  ),
  server(
    { v5: '4.12.0-4' },
    'data that is none of the method',
    (v) => [
      send('a', v.connect('a', { props: [P.method(METHOD), P.data('ff')] })),
      get('a', v.connack({ reason: 0x86 })),
      seeEnd('a'),
    ],
    USERS,
  ),
  server(
    { v5: '4.12.0-5' },
    'AUTH with another method than CONNECT',
    (v) => [
      ...begun(v),
      send('a', v.auth(CONTINUE, P.method('OTHER'), P.data('00'))),
      get('a', v.connack({ reason: 0x82 })),
      seeEnd('a'),
    ],
    USERS,
  ),
  server({ v5: '4.12.0-6' }, 'without a method there is none in CONNACK', (v) => opened(v, 'a')),
  server({ v5: '4.12.0-7' }, 'AUTH of a client without a method', (v) => [
    ...opened(v, 'a'),
    send('a', v.auth(ANEW, P.method(METHOD))),
    get('a', v.disconnect(0x82)),
    seeEnd('a'),
  ]),
  server({ v5: '4.12.0-7' }, 'Authentication Data without a method', (v) => [
    send('a', v.connect('a', { props: [P.data('00')] })),
    seeEnd('a'),
  ]),
  server(
    { v5: '4.12.1-1' },
    'a client proves itself anew, and everything goes on',
    (v) => [
      ...connected(v),
      send('a', v.subscribe(1, { t: 0 })),
      get('a', v.suback(1, 0)),
      ...exchange(v, (data) => v.auth(ANEW, P.method(METHOD), P.data(data))).flatMap((step) =>
        step.does === 'get' ? [step, send('a', v.publish('t', 'x')), get('a', v.publish('t', 'x'))] : [step],
      ),
      get('a', packet(0xf0, '00', props(P.method(METHOD), ANY_LAST))),
      send('a', 'c000'),
      get('a', 'd000'),
    ],
    USERS,
  ),
  server(
    { v5: '4.12.1-1' },
    'with another method',
    (v) => [
      ...connected(v),
      send('a', v.auth(ANEW, P.method('OTHER'), P.data('00'))),
      get('a', v.disconnect(0x82)),
      seeEnd('a'),
    ],
    USERS,
  ),
  server(
    { v5: '4.12.1-2' },
    'what fails then ends the connection',
    (v) => {
      const scram = new ScramClient('ana', 'wrong')
      return [
        ...connected(v),
        send('a', v.auth(ANEW, P.method(METHOD), P.data(hex(scram.first)))),
        get('a', ANY_STEP),
        send('a', (lastAuth) => v.auth(CONTINUE, P.method(METHOD), P.data(hex(scram.final(dataOf(lastAuth)))))),
        get('a', v.disconnect(0x87)),
        seeEnd('a'),
      ]
    },
    USERS,
  ),
  client({ v5: '4.12.0-6 4.12.0-7' }, 'a bridge has no method, and leaves a broker that sends AUTH', (v) => [
    ...bridged(v),
    send('up', v.auth(CONTINUE, P.method(METHOD))),
    get('up', v.disconnect(0x82)),
    seeEnd('up'),
  ]),
]
