import { test } from 'node:test'
import assert from 'node:assert/strict'
import { parseHash, type ScramVerifier } from '../../../../protocols/mqtt/users/password-hash.ts'
import { inventVerifier, ScramExchange } from '../../../../protocols/mqtt/users/scram.ts'
import { ScramClient } from '../../../helpers/mqtt/scram.ts'

const VERIFIER = parseHash(
  '$scram-sha-256$4096$W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=',
) as ScramVerifier
const KEY = Buffer.alloc(32, 7)
const start = (nonce?: string): ScramExchange =>
  new ScramExchange({
    find: (name) => (name === 'user' ? VERIFIER : inventVerifier(name, KEY, 4096)),
    isReal: (_, verifier) => verifier === VERIFIER,
    ...(nonce !== undefined && { nonce }),
  })
const bytes = (text: string): Buffer => Buffer.from(text)
const code = { code: 'MESH_MQTT_BAD_CREDENTIALS' }

test('the exchange of RFC 7677 §3, letter by letter', () => {
  const exchange = start('%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0')
  const first = exchange.next(bytes('n,,n=user,r=rOprNGfwEbeRWgbNEkqO'))
  assert.deepEqual(
    [String(first.data), first.proved],
    ['r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096', undefined],
  )
  const last = exchange.next(
    bytes('c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ='),
  )
  assert.deepEqual(
    [String(last.data), last.proved],
    ['v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=', { name: 'user', secret: VERIFIER }],
  )
})

test('a wrong password, a user without a verifier and an invented one are told apart by nobody', () => {
  for (const [user, password] of [
    ['user', 'wrong'],
    ['nobody', 'pencil'],
  ] as const) {
    const [client, exchange] = [new ScramClient(user, password), start()]
    const { data } = exchange.next(client.first)
    assert.throws(() => exchange.next(client.final(String(data))), code)
  }
  const salt = (name: string): string =>
    /s=([^,]+)/.exec(String(start().next(new ScramClient(name, 'x').first).data))![1]!
  assert.equal(salt('nobody'), salt('nobody'))
  assert.notEqual(salt('nobody'), salt('somebody'))
  assert.equal(salt('nobody').length, salt('user').length)
})

test('nonces are new each time, and a last message for another exchange is refused', () => {
  const client = new ScramClient('user', 'pencil')
  const [one, other] = [start(), start()]
  const first = String(one.next(client.first).data)
  assert.notEqual(first, String(other.next(client.first).data))
  assert.throws(() => other.next(client.final(first)), code)
})

test('a proof that is right over another nonce or another header than the first message had is refused', () => {
  const exchange = start()
  const client = new ScramClient('user', 'pencil')
  const first = String(exchange.next(client.first).data)
  assert.throws(() => exchange.next(client.final(first, 'rOprNGfwEbeRWgbNEkqOanother')), code)
  // `y` says that the client would have bound the channel, and the last message must say the same.
  const other = start()
  const said = String(other.next(bytes(`y,,${client.bare}`)).data)
  assert.throws(() => other.next(client.final(said)), code)
})

test('odd messages are refused and never thrown otherwise: cut, changed, too long, with channel binding', () => {
  const client = new ScramClient('user', 'pencil')
  const whole = String(client.first)
  for (let at = 0; at < whole.length - 1; at++)
    if (at < whole.indexOf('r=') + 3) assert.throws(() => start().next(bytes(whole.slice(0, at))), code)
  for (const first of [
    'p=tls-unique,,n=user,r=abc',
    'n,a=admin,n=user,r=abc',
    'n,,m=x,n=user,r=abc',
    'n,,n=us=er,r=abc',
    'n,,n=,r=abc',
    'n,,n=us\u0007er,r=abc',
    `n,,n=user,r=${'a'.repeat(257)}`,
    'n,,n=user,r=a\u00e4',
    'x'.repeat(2_049),
  ])
    assert.throws(() => start().next(bytes(first)), code, first)
  assert.throws(() => start().next(Buffer.from([0xff])), code)
  const exchange = (): { exchange: ScramExchange; final: string } => {
    const made = start()
    return { exchange: made, final: String(client.final(String(made.next(client.first).data))) }
  }
  const { final } = exchange()
  for (let at = 0; at < final.length; at++) {
    const next = exchange()
    assert.throws(() => next.exchange.next(bytes(next.final.slice(0, at))), code)
  }
  for (const change of [
    (text: string) => text.replace('c=biws', 'c=eSws'),
    (text: string) => text.replace(/p=.*/, 'p='),
    (text: string) => text.replace(/p=.*/, 'p=AAAA'),
    (text: string) => `${text},x=1`,
  ]) {
    const next = exchange()
    assert.throws(() => next.exchange.next(bytes(change(next.final))), code)
  }
})

test('names with commas and equals signs are escaped (RFC 5802 §5.1)', () => {
  const names: string[] = []
  const exchange = new ScramExchange({
    find(name) {
      names.push(name)
      return VERIFIER
    },
    isReal: () => true,
  })
  const client = new ScramClient('a,b=c', 'pencil')
  const { data } = exchange.next(client.first)
  const { proved } = exchange.next(client.final(String(data)))
  assert.deepEqual([names, proved?.name], [['a,b=c'], 'a,b=c'])
})
