import { test } from 'node:test'
import assert from 'node:assert/strict'
import { readBridgeCredentials, type CredentialSources } from '../../../../protocols/mqtt/users/bridge-credentials.ts'
import { bridgePolicy, rig, UP } from '../bridge/rig.ts'

const from = (over: Partial<CredentialSources> = {}): CredentialSources => ({
  read: () => Buffer.from('secret'),
  token: () => 'a.b.c',
  node: 'edge-1',
  ...over,
})
const said = ({ username, password }: ReturnType<typeof readBridgeCredentials>): unknown[] => [
  username,
  password && Buffer.from(password).toString(),
]

test('user and password, the token of the node, a user alone, nothing', () => {
  assert.deepEqual(said(readBridgeCredentials({ username: 'ana', passwordFile: '/p' }, from())), ['ana', 'secret'])
  assert.deepEqual(said(readBridgeCredentials({ passwordFile: '/p' }, from())), ['edge-1', 'secret'])
  assert.deepEqual(said(readBridgeCredentials({ jwt: 'node' }, from())), ['edge-1', 'a.b.c'])
  assert.deepEqual(said(readBridgeCredentials({ username: 'ana' }, from())), ['ana', undefined])
  assert.deepEqual(said(readBridgeCredentials(undefined, from())), [undefined, undefined])
})

test('of the file the end of its last line is no part of the password, everything else is', () => {
  for (const [content, password] of [
    ['secret\n', 'secret'],
    ['secret\r\n', 'secret'],
    ['secret\n\n', 'secret\n'],
    [' se cret ', ' se cret '],
    ['pässwörd\n', 'pässwörd'],
  ] as const)
    assert.equal(
      said(readBridgeCredentials({ passwordFile: '/p' }, from({ read: () => Buffer.from(content) })))[1],
      password,
    )
})

test('what cannot be had is told without its content', () => {
  const denied = (): never => {
    throw new Error('EACCES')
  }
  for (const [over, reason] of [
    [{ read: denied }, /\/p: EACCES/],
    [{ read: () => Buffer.from('\n') }, /\/p is empty/],
    [{ read: () => Buffer.alloc(65_536, 'secret') }, /larger than 65535 bytes$/],
  ] as const)
    assert.throws(() => readBridgeCredentials({ passwordFile: '/p' }, from(over)), {
      code: 'MESH_MQTT_CREDENTIALS',
      message: reason,
    })
  assert.throws(() => readBridgeCredentials({ jwt: 'node' }, from({ token: () => undefined })), /no token/)
})

test('they are read at each connection, and the bridge waits for them as for a broker that is away', async (t) => {
  const r = await rig(t, [])
  let password: string | undefined
  const read = (): Buffer => {
    if (password === undefined) throw new Error('there is no such file')
    return Buffer.from(password)
  }
  r.credentials = (settings) => readBridgeCredentials(settings, from({ read }))
  await r.bridge.apply(bridgePolicy([UP], { credentials: { username: 'site', passwordFile: '/p' } }))
  await r.clock.advance(10_000)
  assert.equal(r.upstream.connections.length, 0)
  assert.match(r.bridge.status()[0]?.error ?? '', /\/p: there is no such file/)
  for (const next of ['one', 'two']) {
    password = next
    await r.nextConnection()
    const conn = await r.upstream.next()
    assert.deepEqual(said(await conn.take('connect')), ['site', next])
    conn.end()
  }
})
