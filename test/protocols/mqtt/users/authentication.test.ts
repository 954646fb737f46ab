import { test } from 'node:test'
import assert from 'node:assert/strict'
import { FilesDisk, line, PASSWORDS, usersOn, type UsersInput } from '../../../helpers/mqtt/users.ts'
import { peerOf, TestBroker } from '../../../helpers/mqtt/broker.ts'
import { settle, SimClock } from '../../../helpers/sim-clock.ts'
import { createKey, createToken, part } from '../../../helpers/jwt.ts'
import type { PeerIdentity } from '../../../../model/identity.ts'
import { connectPacket } from '../../../helpers/mqtt/peer.ts'

const KEEP = { cleanStart: false, properties: { sessionExpirySec: 3600 } } as const
const KEY = createKey('ES256', 'k1')
const JWT = { issuers: [{ issuer: 'https://id', audiences: ['mqtt'], jwks: { keys: [KEY.jwk] } }] }
const ALL: UsersInput = { passwordFile: PASSWORDS, jwt: JWT, certificateUser: 'cn', maxRefusalDelayMs: 0 }

class Site {
  readonly files = new FilesDisk()
  readonly t: TestBroker
  constructor(settings: UsersInput = ALL, clock = new SimClock()) {
    this.files.write(PASSWORDS, `${line('ana', 'secret')}\n${line('bob', 'hunter2')}\n`)
    this.t = new TestBroker({ users: usersOn(this.files, settings), clock })
  }
  /** The reason of CONNACK, and the code of the end where there was one. */
  async connect(
    credentials: { username?: string; password?: string | Buffer },
    how: Parameters<TestBroker['open']>[0] = {},
    more: object = {},
  ): Promise<{ reason: number; peer: ReturnType<TestBroker['open']> }> {
    const peer = this.t.open(how)
    const { username, password } = credentials
    peer.send(
      connectPacket({
        version: peer.version,
        username,
        password: password === undefined ? undefined : Buffer.from(password),
        ...more,
      }),
    )
    // A hash is computed on another thread.
    for (let i = 0; i < 500 && peer.received.length === 0 && !peer.closed; i++) {
      await settle()
      await new Promise((resolve) => setImmediate(resolve))
    }
    return { reason: (await peer.take('connack')).reason, peer }
  }
  count(method: string, result: string): number {
    return this.t.metrics.total('mesh_mqtt_authentications_total', { method, result })
  }
}
test('behind a load balancer its word of the certificate counts, and no certificate of its own', async () => {
  const site = new Site()
  const reasonOf = async (how: Parameters<Site['connect']>[1]): Promise<number> => (await site.connect({}, how)).reason
  const balancer = cn('balancer')
  assert.deepEqual(
    [
      await reasonOf({ proxied: { commonName: 'pump' } }),
      await reasonOf({ proxied: { commonName: 'pump' }, peer: balancer }),
      await reasonOf({ proxied: { commonName: undefined }, peer: balancer }),
      await reasonOf({ proxied: { commonName: '' } }),
      await reasonOf({ proxied: { commonName: 'a\nb' } }),
    ],
    [0, 0, 0x87, 0x87, 0x87],
  )
  assert.deepEqual([site.count('certificate', 'accepted'), site.count('none', 'refused')], [2, 3])
})
const cn = (name: string): PeerIdentity => ({
  ...peerOf('spiffe://t/ns/a/sa/b'),
  spiffeId: undefined,
  subject: `CN=${name}`,
})
const token = (claims: object = {}): string =>
  createToken(KEY, { iss: 'https://id', aud: 'mqtt', sub: 'pump', ...claims })

for (const version of [4, 5] as const) {
  const [bad, none] = version === 5 ? [0x86, 0x87] : [4, 5]
  test(`version ${version}: the right password comes in, a wrong one, an unknown user and nobody do not`, async () => {
    const site = new Site()
    const how = { version }
    assert.deepEqual(
      [
        (await site.connect({ username: 'ana', password: 'secret' }, how)).reason,
        (await site.connect({ username: 'ana', password: 'hunter2' }, how)).reason,
        (await site.connect({ username: 'ana', password: '' }, how)).reason,
        (await site.connect({ username: 'eve', password: 'secret' }, how)).reason,
        (await site.connect({ username: 'Ana', password: 'secret' }, how)).reason,
        (await site.connect({ username: '', password: 'secret' }, how)).reason,
        (await site.connect({ username: 'ana' }, how)).reason,
        (await site.connect({}, how)).reason,
      ],
      [0, bad, bad, bad, bad, bad, none, none],
    )
    assert.deepEqual(
      [site.count('password', 'accepted'), site.count('password', 'refused'), site.count('none', 'refused')],
      [1, 5, 2],
    )
    const said = site.t.outcomes.map(({ error }) => `${error?.code} ${error?.message}`).join('\n')
    assert.match(said, /MESH_MQTT_BAD_CREDENTIALS user ana: the password is wrong/)
    assert.match(said, /MESH_MQTT_BAD_CREDENTIALS user eve: there is no such user/)
    assert.match(said, /MESH_MQTT_USER_NEEDED .*it only said a user name/)
    assert.doesNotMatch(said, /secret|hunter2/)
  })
}

test('a password without a user name (MQTT 5 permits it) is refused where passwords are checked', async () => {
  const site = new Site({ passwordFile: PASSWORDS, maxRefusalDelayMs: 0 })
  assert.equal((await site.connect({ password: 'secret' })).reason, 0x86)
})

test('odd user names are refused, whatever they hold; nothing of them is obeyed in a message', async () => {
  const site = new Site()
  for (const username of ['a\u0007b', 'ana ', 'x'.repeat(65_535), '../ana', '%u', '+', '#', '/', '$SYS', 'ana\u2028'])
    assert.equal(
      (await site.connect({ username, password: 'secret' }, { policy: { limits: { maxConnectBytes: 100_000 } } }))
        .reason,
      0x86,
    )
  for (const { error } of site.t.outcomes) {
    assert.ok(error!.message.length < 400)
    assert.doesNotMatch(error!.message, /[\p{Cc}\u2028]/u)
  }
})

test('anonymous clients come in where the listener says so, and everywhere without mqtt.users', async () => {
  const site = new Site()
  const anonymous = { policy: { listener: { anonymous: true } } }
  assert.equal((await site.connect({}, anonymous)).reason, 0)
  assert.equal((await site.connect({ username: 'ana' }, anonymous)).reason, 0)
  assert.equal((await site.connect({ username: 'ana', password: 'wrong' }, anonymous)).reason, 0x86)
  const open = new TestBroker()
  assert.equal((await open.open().connect({ username: 'x', password: Buffer.from('y') })).reason, 0)
  const closed = open.open({ policy: { listener: { anonymous: false } } })
  assert.equal((await closed.connect()).reason, 0x87)
})

test('a listener takes the ways that it names, and no others', async () => {
  const site = new Site()
  const only = (...authentication: ('password' | 'jwt' | 'certificate')[]): object => ({
    policy: { listener: { authentication } },
    peer: cn('press'),
  })
  const [password, jwt] = [
    { username: 'ana', password: 'secret' },
    { username: 'x', password: token() },
  ]
  const reasons = async (how: object): Promise<number[]> => [
    (await site.connect(password, how, { clientId: '' })).reason,
    (await site.connect(jwt, how, { clientId: '' })).reason,
    (await site.connect({}, how, { clientId: '' })).reason,
  ]
  assert.deepEqual(await reasons(only('password')), [0, 0x86, 0x87])
  assert.deepEqual(await reasons(only('jwt')), [0x86, 0, 0x87])
  // What CONNECT has means nothing there, as with mosquitto's use_identity_as_username.
  assert.deepEqual(await reasons(only('certificate')), [0, 0, 0])
  assert.deepEqual(await reasons(only()), [0x87, 0x87, 0x87])
  assert.deepEqual(await reasons(only('password', 'jwt', 'certificate')), [0, 0, 0])
})

test('%u is the user that was proved, by each of the ways; never the one that was said', async () => {
  const site = new Site()
  const policy = {
    listener: { anonymous: true },
    rules: [{ action: 'subscribe' as const, topics: ['u/%u/#'], effect: 'allow' as const }],
  }
  const mayHave = async (credentials: object, filter: string, how: object = {}): Promise<boolean> => {
    const { peer } = await site.connect(credentials, { policy, ...how }, { clientId: '' })
    return (await peer.subscribe(filter)).reasons[0]! < 0x80
  }
  const ana = { username: 'ana', password: 'secret' }
  const jwt = { username: 'ana', password: token() }
  assert.equal(await mayHave(ana, 'u/ana/#'), true)
  assert.equal(await mayHave(ana, 'u/bob/#'), false)
  assert.equal(await mayHave(jwt, 'u/pump/#'), true)
  assert.equal(await mayHave(jwt, 'u/ana/#'), false)
  assert.equal(await mayHave({}, 'u/press/#', { peer: cn('press') }), true)
  assert.equal(await mayHave({ username: 'ana' }, 'u/ana/#', { peer: cn('press') }), false)
  assert.equal(await mayHave({ username: 'ana' }, 'u/ana/#'), false)
})

test('a session is of its user, on every listener and in every way; another user does not get it', async () => {
  const site = new Site()
  const mine = await site.connect(
    { username: 'ana', password: 'secret' },
    { listener: 'a' },
    { clientId: 'k', ...KEEP },
  )
  mine.peer.disconnect()
  await settle()
  assert.equal(
    (await site.connect({ username: 'bob', password: 'hunter2' }, { listener: 'a' }, { clientId: 'k', ...KEEP }))
      .reason,
    0x87,
  )
  assert.equal(
    (await site.connect({}, { listener: 'a', policy: { listener: { anonymous: true } } }, { clientId: 'k', ...KEEP }))
      .reason,
    0x87,
  )
  const again = await site.connect(
    { username: 'u', password: token({ sub: 'ana' }) },
    { listener: 'b' },
    { clientId: 'k', ...KEEP },
  )
  assert.equal(again.reason, 0)
})

test('a node that has no users any more does not keep a client id for one for ever', async () => {
  const site = new Site()
  const mine = await site.connect({ username: 'ana', password: 'secret' }, {}, { clientId: 'k', ...KEEP })
  await mine.peer.subscribe('a', { qos: 1 })
  const t = await site.t.stop()
  const answer = await t.open().connect({ clientId: 'k', ...KEEP })
  assert.deepEqual([answer.reason, answer.sessionPresent], [0, false])
})

test('tokens: refused ones end the attempt with 0x86, whatever the listener takes else', async () => {
  const site = new Site()
  const nowSec = site.t.clock.wallMs() / 1_000
  const none = `${part({ alg: 'none' })}.${part({ iss: 'https://id', aud: 'mqtt', sub: 'ana' })}.${part('x')}`
  for (const password of [
    token({ exp: nowSec - 61 }),
    token({ nbf: nowSec + 61 }),
    token({ aud: 'x' }),
    none,
    `${token()}x`,
  ])
    assert.equal((await site.connect({ username: 'ana', password })).reason, 0x86)
  assert.equal(site.count('jwt', 'refused'), 5)
  // What nobody has issued may be a password, however it looks.
  const odd = createToken(KEY, { iss: 'elsewhere' })
  site.files.write(PASSWORDS, line('ana', odd))
  await site.t.clock.advance(2_250)
  assert.equal((await site.connect({ username: 'ana', password: odd })).reason, 0)
})

test('a connection ends when its token does: 0x87, with the leeway of a minute, and when the clock is set', async () => {
  for (const jump of [false, true]) {
    const site = new Site()
    const nowSec = site.t.clock.wallMs() / 1_000
    const { reason, peer } = await site.connect({ username: 'x', password: token({ exp: nowSec + 600 }) })
    assert.equal(reason, 0)
    if (jump) {
      site.t.clock.setWallMs(site.t.clock.wallMs() + 3_600_000)
      await site.t.clock.advance(60_000)
    } else {
      await site.t.clock.advance(659_000)
      assert.deepEqual(await peer.seen(), [])
      await site.t.clock.advance(1_000)
    }
    assert.deepEqual(await peer.seen(), ['disconnect 0x87'])
    assert.equal((await peer.outcome).error?.code, 'MESH_MQTT_USER_ENDED')
  }
})

test('who is removed or gets another password is disconnected; the others stay', async () => {
  const site = new Site()
  const ana = await site.connect({ username: 'ana', password: 'secret' }, {}, { clientId: 'a' })
  const bob = await site.connect({ username: 'bob', password: 'hunter2' }, {}, { clientId: 'b' })
  site.files.write(PASSWORDS, `# touched\n${line('bob', 'hunter2')}\n${line('ana', 'secret')}\n`)
  await site.t.clock.advance(2_250)
  assert.deepEqual([await ana.peer.seen(), await bob.peer.seen()], [[], []])
  site.files.write(PASSWORDS, `${line('bob', 'hunter2')}\n${line('ana', 'new')}\n`)
  await site.t.clock.advance(2_250)
  assert.deepEqual([await ana.peer.seen(), await bob.peer.seen()], [['disconnect 0x87'], []])
  site.files.write(PASSWORDS, line('ana', 'new'))
  await site.t.clock.advance(2_250)
  assert.deepEqual(await bob.peer.seen(), ['disconnect 0x87'])
  assert.equal((await site.connect({ username: 'bob', password: 'hunter2' })).reason, 0x86)
  assert.equal((await site.connect({ username: 'ana', password: 'new' })).reason, 0)
})

test('a file that is not there is our fault: 0x88 and 3, so that clients come again', async () => {
  const site = new Site()
  site.files.remove(PASSWORDS)
  const t = new TestBroker({ users: usersOn(site.files) })
  for (const [version, reason] of [
    [5, 0x88],
    [4, 3],
  ] as const)
    assert.equal(
      (await t.open({ version }).connect({ username: 'ana', password: Buffer.from('secret') })).reason,
      reason,
    )
  assert.equal(t.metrics.total('mesh_mqtt_authentications_total', { method: 'password', result: 'not-checked' }), 2)
  assert.deepEqual(
    t.broker.userProblems().map((p) => p.code),
    ['MESH_MQTT_USERS_FILE'],
  )
})

test('a listener that stops taking anonymous clients, or a way to prove a user, ends those connections', async () => {
  const site = new Site()
  const anonymous = await site.connect({}, { policy: { listener: { anonymous: true } } }, { clientId: 'a' })
  const ana = await site.connect({ username: 'ana', password: 'secret' }, {}, { clientId: 'b' })
  site.t.usePolicy({}, [anonymous.peer, ana.peer])
  assert.deepEqual([await anonymous.peer.seen(), await ana.peer.seen()], [['disconnect 0x87'], []])
  site.t.usePolicy({ listener: { authentication: ['jwt'] } }, [ana.peer])
  assert.deepEqual(await ana.peer.seen(), ['disconnect 0x87'])
})

test('refusals of one source are held back longer and longer; right passwords, and others, are not', async () => {
  const site = new Site({ passwordFile: PASSWORDS })
  const started = site.t.clock.monotonicMs()
  for (const delayMs of [250, 500, 1_000]) {
    const peer = site.t.open({ host: '192.0.2.9' })
    peer.send(connectPacket({ clientId: '', username: 'ana', password: Buffer.from('wrong') }))
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve))
    const right = await site.connect({ username: 'ana', password: 'secret' }, { host: '192.0.2.9' })
    assert.equal(right.reason, 0)
    await site.t.clock.advance(delayMs - 1)
    assert.deepEqual([peer.received, peer.closed], [[], false])
    await site.t.clock.advance(1)
    assert.equal((await peer.take('connack')).reason, 0x86)
  }
  assert.equal(site.t.clock.monotonicMs() - started, 1_750)
})

test('clientIdPrefixes and maxConnections are of a listener', async () => {
  const t = new TestBroker()
  const policy = { listener: { clientIdPrefixes: ['pump-', 'press-'], maxConnections: 2 } }
  const connect = async (clientId: string, listener: string): Promise<number> =>
    (await t.open({ policy, listener }).connect({ clientId })).reason
  assert.deepEqual([await connect('press-1', 'a'), await connect('Press-1', 'a')], [0, 0x85])
  const given = await t.open({ policy, listener: 'a' }).connect({ clientId: '' })
  assert.match(given.properties.assignedClientId ?? '', /^pump-[a-z0-9]{22}$/)
  const third = t.open({ policy, listener: 'a' })
  assert.equal((await third.outcome).error?.code, 'MESH_LISTENER_FULL')
  assert.equal(await connect('pump-9', 'b'), 0)
})
