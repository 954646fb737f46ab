/** Devices that prove themselves to the relay by their key, and those who would like to be one. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { once } from 'node:events'
import tls from 'node:tls'
import { createRelayAsk } from '../../../control-sync/fleet/device/relay-request.ts'
import { signConnection } from '../../../control-sync/fleet/device/proof.ts'
import { createRelayAuthority } from '../../../control-sync/fleet/relay-authority.ts'
import type { MeshError } from '../../../core/errors.ts'
import type { Connection } from '../../../control-sync/fleet/relay-link.ts'
import { systemClock } from '../../../core/os/clock.ts'
import type { Kind } from '../../../core/relay/kinds.ts'
import { RENEW_PATH, type Renewed } from '../../../model/fleet/enrollment.ts'
import { makeCsr } from '../ca/make-csr.ts'
import { revokeDevice } from '../../../hub/enrollment/operator.ts'
import { answers, fleet, keyed, leave, services, until, whole, type Fleet } from './rig.ts'

type Finally = { after(fn: () => void): void }
type Keyed = Awaited<ReturnType<typeof keyed>>
const CONNECT = { certificateRefused: false }

async function connect(t: Finally, { h }: Fleet, session?: Buffer) {
  const socket = tls.connect({
    host: '127.0.0.1',
    port: h.hub.relayPort!,
    ca: h.hub.rootsPem,
    ...(session && { session }),
  })
  t.after(() => socket.destroy())
  await once(socket, 'secureConnect')
  return socket
}
/** @returns the status, and the code that is said */
async function upgrade(socket: tls.TLSSocket, authorization: string, path = '/relay'): Promise<[number, string]> {
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: hub\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: meshlet.1\r\nAuthorization: ${authorization}\r\n\r\n`,
  )
  let text = ''
  socket.on('data', (part: Buffer) => {
    text += part.toString('latin1')
  })
  socket.on('error', () => undefined)
  await until(() => text.startsWith('HTTP/1.1 101') || socket.readableEnded || socket.destroyed, 'it is answered')
  return [Number(text.split(' ')[1]), /"code":"(\w+)"/.exec(text)?.[1] ?? '']
}
const prove = (socket: tls.TLSSocket, device: Keyed, path = '/relay'): Promise<string> =>
  signConnection(socket, { path, position: device.position(), key: device.key })

const resetOf = ({ mux }: Connection, kind: Kind, message?: Buffer): Promise<MeshError> =>
  new Promise((resolve, reject) => {
    const stream = mux.open(kind)
    stream.listen({ onMessage: () => reject(new Error('it was answered')), onReset: resolve })
    if (message) stream.send(message)
  })

async function renew(f: Fleet, link: ReturnType<Fleet['link']>, device: Keyed): Promise<Renewed> {
  const { counter, chain } = device.stands
  const nonce = randomBytes(16).toString('base64url')
  const { body } = await createRelayAsk(
    link,
    f.control,
    systemClock,
  )(RENEW_PATH, {
    counter,
    chain,
    nonce,
    ttlSec: 0,
    csr: makeCsr().csrPem,
  })
  return body as Renewed
}

test('proofs that are forged, replayed, of another connection or path, cut or of nobody open nothing', async (t) => {
  const f = await fleet(t, services(1))
  const device = await keyed(f.h)
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const good = await connect(t, f)
  const recorded = await prove(good, device)
  assert.deepEqual(await upgrade(good, recorded), [101, ''])
  const changed = (at: number): string => {
    const bytes = Buffer.from(recorded.split(' ')[1]!, 'base64url')
    bytes[at]! ^= 1
    return `Meshlet-Key ${bytes.toString('base64url')}`
  }
  const length = Buffer.from(recorded.split(' ')[1]!, 'base64url').length
  const cases: readonly [string, (socket: tls.TLSSocket) => string | Promise<string>, string, number][] = [
    ['replayed on another connection', () => recorded, 'MESH_DEVICE_PROOF', 401],
    ['for another path', (socket) => prove(socket, device, '/v1/devices/renew'), 'MESH_DEVICE_PROOF', 401],
    ['nothing', () => 'Meshlet-Key AQ', 'MESH_DEVICE_PROOF', 401],
    ['no base64url', () => 'Meshlet-Key !!!', 'MESH_DEVICE_PROOF', 401],
    ['far too long', () => `Meshlet-Key ${'A'.repeat(9_000)}`, 'MESH_DEVICE_PROOF', 401],
    ['a JWS', () => 'Meshlet-Key e30.e30.AAAA', 'MESH_DEVICE_PROOF', 401],
    ...Array.from(
      { length },
      (_, at) =>
        [`changed at ${at}`, () => changed(at), 'MESH_DEVICE_PROOF', 401] as [string, () => string, string, number],
    ),
    [
      'signed by another key than it shows',
      (socket) => {
        const other = {
          ...device.key,
          sign: (b: Buffer) => sign('sha256', b, { key: privateKey, dsaEncoding: 'ieee-p1363' }),
        }
        return signConnection(socket, { path: '/relay', position: device.position(), key: other })
      },
      'MESH_DEVICE_PROOF',
      401,
    ],
  ]
  for (const [what, make, code, status] of cases) {
    const socket = await connect(t, f)
    assert.deepEqual(await upgrade(socket, await make(socket)), [status, code], what)
  }
  assert.equal((await f.h.hub.registry.enrollments.byName('gw-1'))?.clonedMs, null, 'nobody is taken for a copy by it')
})

test('a ticket from before the revocation opens nothing, and neither does one without a proof', async (t) => {
  const f = await fleet(t, services(1))
  const device = await keyed(f.h)
  const socket = await connect(t, f)
  assert.deepEqual(await upgrade(socket, await prove(socket, device)), [101, ''])
  const session = socket.getSession()!
  const bare = await connect(t, f, session)
  assert.ok(bare.isSessionReused())
  assert.deepEqual(await upgrade(bare, 'none'), [401, 'MESH_CONTROL_UNAUTHENTICATED'])
  const ended = once(socket, 'close')
  await revokeDevice(f.h.hub.registry, 'gw-1', Date.now())
  await ended
  const resumed = await connect(t, f, session)
  assert.ok(resumed.isSessionReused())
  assert.deepEqual(await upgrade(resumed, await prove(resumed, device)), [403, 'MESH_DEVICE_REVOKED'])
})

test('over its connection a device renews in its chain of renewals alone, and for itself alone', async (t) => {
  const f = await fleet(t, services(1))
  const [device, other] = [await keyed(f.h), await keyed(f.h, 'gw-2')]
  let now = device.key
  const key = {
    get jwk() {
      return now.jwk
    },
    keyId: device.key.keyId,
    sign: (bytes: Buffer) => now.sign(bytes),
  }
  const link = f.link({}, undefined, { ...device, findKey: async () => key })
  const connection = await link.connect(CONNECT)
  connection.mux.open('configuration').listen({ onMessage: () => undefined })
  const ask = createRelayAuthority(link, f.control, systemClock)
  const wish = { current: undefined, spiffeUri: f.identity.spiffeId.uri, ttlSec: 0, certificateRefused: false }
  await assert.rejects(ask({ ...wish, key: 'ecdsa-p256' }), { code: 'MESH_CONTROL_FORBIDDEN' })
  now = other.key
  await assert.rejects(renew(f, link, other), { code: 'MESH_DEVICE_PROOF' })
  now = device.key
  const renewed = await renew(f, link, device)
  assert.equal(renewed.counter, device.stands.counter + 1)
  assert.equal((await link.connect(CONNECT)).mux, connection.mux, 'over the same connection')
  assert.equal((await f.h.hub.registry.enrollments.byName('gw-2'))?.counter, other.stands.counter)
  const byCertificate = await f.link().connect(CONNECT)
  assert.equal((await resetOf(byCertificate, 'request', Buffer.of(0))).code, 'MESH_CONTROL_FORBIDDEN')
})

test('a copy that stands elsewhere in the chain gets no configuration before it has renewed, by which it is found', async (t) => {
  const f = await fleet(t, services(2))
  const device = await keyed(f.h)
  const old = device.stands
  const link = f.link({}, undefined, device)
  const renewed = await renew(f, link, device)
  device.stands = { counter: renewed.counter, chain: renewed.chain, nonce: undefined }
  const stale = { ...device, stands: old, position: () => old }
  const reset = await resetOf(await f.link({}, undefined, stale).connect(CONNECT), 'configuration')
  assert.equal(reset.code, 'MESH_CONTROL_UNAUTHENTICATED')
  assert.match(reset.message, /has to renew/)
  await assert.rejects(renew(f, f.link({}, undefined, stale), stale), { code: 'MESH_DEVICE_CLONED' })
  assert.notEqual((await f.h.hub.registry.enrollments.byName('gw-1'))?.clonedMs, null)
  const agent = f.agent(undefined, undefined, f.link({}, undefined, device))
  await whole(agent, 2)
})

test("a device takes no other tenant's name", async (t) => {
  const f = await fleet(t, services(1))
  const other = await keyed(f.h, 'gw-9')
  // The rig's node is gw-1, whose holder joined with a certificate.
  const first = f.agent()
  await whole(first, 1)
  await leave(f, first)
  const refused = answers(f.h, 'ack')
  const agent = f.agent(undefined, undefined, f.link({}, undefined, other))
  await until(() => agent.sync.link.error !== undefined, 'it is refused')
  assert.equal(agent.sync.link.error?.code, 'MESH_CONTROL_FORBIDDEN')
  assert.equal(answers(f.h, 'ack'), refused)
})

test('of one device the newest four connections count, and bearers of one token have a limit together', async (t) => {
  const f = await fleet(t, services(1), 'limits: {maxConnectionsPerToken: 2}\n')
  const device = await keyed(f.h)
  const open = async (): Promise<string[]> => {
    const ended: string[] = []
    const { mux } = await f.link({}, undefined, device).connect(CONNECT)
    mux.open('configuration').listen({ onMessage: () => undefined, onReset: ({ code }) => ended.push(code) })
    return ended
  }
  const all = [await open(), await open(), await open(), await open(), await open()]
  await until(() => all[0]!.length > 0, 'the oldest ends')
  assert.deepEqual(all, [['MESH_CONTROL_SLOW_DOWN'], [], [], [], []])
  const { token } = await f.h.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: '*' })
  const bear = async (): Promise<[number, string]> => upgrade(await connect(t, f), `Bearer ${token}`)
  assert.deepEqual(
    [await bear(), await bear(), await bear()],
    [
      [101, ''],
      [101, ''],
      [429, 'MESH_CONTROL_SLOW_DOWN'],
    ],
  )
})

test('a copy that was found takes no connection from the device, however many it opens', async (t) => {
  const f = await fleet(t, services(1))
  const device = await keyed(f.h)
  const old = device.stands
  const link = f.link({}, undefined, device)
  const { mux } = await link.connect(CONNECT)
  const ended: string[] = []
  mux.open('configuration').listen({ onMessage: () => undefined, onReset: ({ code }) => ended.push(code) })
  const goOn = async (): Promise<void> => {
    const { counter, chain } = await renew(f, link, device)
    device.stands = { counter, chain, nonce: undefined }
  }
  await goOn()
  const copy = { ...device, position: () => old }
  for (let i = 0; i < 6; i++) {
    const socket = await connect(t, f)
    assert.deepEqual(await upgrade(socket, await prove(socket, copy)), [101, ''])
  }
  await goOn()
  assert.equal((await link.connect(CONNECT)).mux, mux, 'over the same connection')
  assert.deepEqual(ended, [])
})

test('a device that is known by its key has so many streams', async (t) => {
  const f = await fleet(t, services(1), 'limits: {maxStreamsPerDevice: 2}\n')
  const { mux } = await f.link({}, undefined, await keyed(f.h)).connect(CONNECT)
  const ended: string[] = []
  for (let i = 0; i < 3; i++)
    mux.open('configuration').listen({
      onMessage: () => undefined,
      onReset: ({ code, message }) => ended.push(`${code} ${message}`),
    })
  await until(() => ended.length > 0, 'one is refused')
  assert.equal(ended.length, 1)
  assert.match(ended[0]!, /MESH_CONTROL_SLOW_DOWN.*maxStreamsPerDevice/)
})
