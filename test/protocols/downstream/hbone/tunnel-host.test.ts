/** Where tunnels lead (HBONE), and who opens them: a peer of the mesh that asks for what it should not have. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createLog } from '../../../../core/log.ts'
import { testCa } from '../../../helpers/test-ca.ts'
import { frame, headers, type RawH2, type Heard } from '../../../helpers/raw-h2.ts'
import { allow, answerOf, connect, HboneRig, type HboneOptions, HERE, NODE, until } from '../../hbone-rig.ts'

const CLIENT = 'spiffe://cluster.local/ns/shop/sa/client'
const data = (stream: number, text: string, end = false): Buffer => frame(0, end ? 1 : 0, stream, Buffer.from(text))
const bodyOf = (peer: RawH2, stream: number): string =>
  peer.heard
    .filter((f) => f.type === 0 && f.stream === stream)
    .map((f) => f.payload.toString())
    .join('')
const isEnd =
  (stream: number) =>
  (f: Heard): boolean =>
    f.stream === stream && (f.type === 3 || (f.type <= 1 && (f.flags & 1) === 1))

for (const host of [HERE, NODE]) {
  test(`a tunnel to ${host} carries both ways, ends each side by itself, and gives all of it back`, async () => {
    await using rig = await HboneRig.open()
    const peer = await rig.peer()
    peer.socket.write(Buffer.concat([connect(1, `${host}:${rig.ports.tcp}`), data(1, 'early ')]))
    assert.equal(await answerOf(peer, 1), 200)
    await until('the application is connected', () => rig.sockets.length === 1)
    const [app] = rig.sockets
    let got = ''
    app!.on('data', (chunk) => (got += chunk.toString()))
    peer.socket.write(data(1, 'and late', true))
    await once(app!, 'end')
    assert.equal(got, 'early and late')
    // Its side is over; the other one is not.
    app!.write('answer')
    await until('the answer', () => bodyOf(peer, 1) === 'answer')
    app!.end(' and end')
    await peer.until(isEnd(1))
    assert.equal(bodyOf(peer, 1), 'answer and end')
    assert.ok(!peer.heard.some((f) => f.type === 3), 'nothing was reset')
    peer.close()
    await until('all is given back', () => Object.values(rig.held()).every((n) => n === 0))
  })
}

test('what is spoken inside is told apart where chains ask for it: HTTP gets its own chain', async () => {
  await using rig = await HboneRig.open()
  rig.app.on('connection', (socket) => {
    socket.once('data', (head) => socket.end(`HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n${head.toString()}`))
  })
  const peer = await rig.peer()
  peer.socket.write(connect(1, `${HERE}:${rig.ports.http}`))
  peer.socket.write(data(1, 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'))
  assert.equal(await answerOf(peer, 1), 200)
  await until('an answer of HTTP', () => bodyOf(peer, 1).includes('server: meshlet'))
  peer.close()
})

test('addresses of others, names, and the agent itself: 400, and nobody is connected to', async () => {
  await using rig = await HboneRig.open()
  const { tcp, hbone, admin } = rig.ports
  const peer = await rig.peer()
  const targets = [
    `10.0.0.1:${tcp}`,
    '169.254.169.254:80',
    `127.0.0.2:${tcp}`,
    `[::1]:${tcp}`,
    `[::ffff:10.0.0.1]:${tcp}`,
    `[fe80::1%25lo]:${tcp}`,
    `localhost:${tcp}`,
    `app.default.svc.cluster.local:${tcp}`,
    `0.0.0.0:${tcp}`,
    `[::]:${tcp}`,
    `2130706433:${tcp}`,
    `127.1:${tcp}`,
    `0177.0.0.1:${tcp}`,
    `user@${HERE}:${tcp}`,
    `${HERE}:${tcp}@10.0.0.1:80`,
    HERE,
    `${HERE}:`,
    `${HERE}:0`,
    `${HERE}:65536`,
    `${HERE}:+80`,
    `${HERE}: 80`,
    `${HERE}:${hbone}`,
    `${HERE}:${admin}`,
  ]
  for (const [i, target] of targets.entries()) {
    const stream = 1 + 2 * i
    peer.socket.write(connect(stream, target))
    assert.equal(await answerOf(peer, stream), 400, target)
  }
  assert.equal(rig.sockets.length, 0)
  assert.equal(rig.metrics.total('mesh_hbone_tunnels_total', { answer: '400' }), targets.length)
  peer.close()
})

test('a port that no chain takes, and an application that is not there: 503', async () => {
  await using rig = await HboneRig.open()
  const peer = await rig.peer()
  peer.socket.write(connect(1, `${HERE}:1`))
  assert.equal(await answerOf(peer, 1), 503)
  rig.app.close()
  peer.socket.write(connect(3, `${HERE}:${rig.ports.tcp}`))
  assert.equal(await answerOf(peer, 3), 503)
  peer.close()
})

test('what is no CONNECT is no tunnel', async () => {
  await using rig = await HboneRig.open()
  const peer = await rig.peer()
  const fields = [
    [':method', 'GET'],
    [':scheme', 'https'],
    [':authority', `${HERE}:${rig.ports.http}`],
    [':path', '/'],
  ] as const
  const end = true
  peer.socket.write(headers(1, fields, end))
  assert.equal(await answerOf(peer, 1), 400)
  peer.socket.write(
    connect(3, `${HERE}:${rig.ports.tcp}`, [
      [':protocol', 'websocket'],
      [':scheme', 'https'],
      [':path', '/'],
    ]),
  )
  assert.equal(await answerOf(peer, 3), 400)
  assert.equal(rig.sockets.length, 0)
  peer.close()
})

test('policies see who opened the tunnel: 401 before anything is connected, and an open one is cut when they change', async () => {
  await using rig = await HboneRig.open({ policies: [allow(CLIENT)] })
  const stranger = await rig.peer(rig.ca.issue('shop', 'other'))
  stranger.socket.write(connect(1, `${HERE}:${rig.ports.tcp}`))
  assert.equal(await answerOf(stranger, 1), 401)
  assert.equal(rig.sockets.length, 0)

  const peer = await rig.peer()
  for (const stream of [1, 3]) peer.socket.write(connect(stream, `${HERE}:${rig.ports.tcp}`))
  assert.equal(await answerOf(peer, 3), 200)
  rig.use([allow(CLIENT), allow(CLIENT)])
  rig.use([allow('spiffe://cluster.local/ns/shop/sa/other')])
  const reset = await peer.until((f) => f.type === 3 && f.stream === 3)
  assert.ok(reset, 'the tunnel is cut')
  peer.socket.write(connect(5, `${HERE}:${rig.ports.tcp}`))
  assert.equal(await answerOf(peer, 5), 401)
  peer.close()
  stranger.close()
})

test('who is not of the mesh opens no tunnel: another trust domain, another CA, no certificate, no HTTP/2 by name', async () => {
  await using rig = await HboneRig.open()
  const other = testCa('other.domain')
  // Signed by the mesh's own root, and of another trust domain all the same.
  const foreign = rig.ca.issue('shop', 'client', { spiffeUri: 'spiffe://other.domain/ns/shop/sa/client' })
  for (const [what, connection] of [
    ['another trust domain', await rig.peer(foreign)],
    ['another CA', await rig.peer(other.issue('shop', 'client'))],
    ['no certificate', await rig.peer('nobody')],
    ['no ALPN', await rig.peer(rig.ca.issue('shop', 'client'), [])],
  ] as const) {
    connection.socket.write(connect(1, `${HERE}:${rig.ports.tcp}`))
    assert.equal(await connection.until((f) => f.type === 1), undefined, what)
    connection.close()
  }
  assert.equal(rig.sockets.length, 0)
  await until('all is given back', () => Object.values(rig.held()).every((n) => n === 0))
})

test('a reset at one end is a reset at the other', async () => {
  await using rig = await HboneRig.open()
  const peer = await rig.peer()
  peer.socket.write(connect(1, `${HERE}:${rig.ports.tcp}`))
  assert.equal(await answerOf(peer, 1), 200)
  await until('the application is connected', () => rig.sockets.length === 1)
  rig.sockets[0]!.resetAndDestroy()
  const reset = await peer.until((f) => f.type === 3 && f.stream === 1)
  assert.equal(reset?.payload.readUInt32BE(), 10, 'CONNECT_ERROR')

  peer.socket.write(connect(3, `${HERE}:${rig.ports.tcp}`))
  assert.equal(await answerOf(peer, 3), 200)
  await until('the application is connected again', () => rig.sockets.length === 2)
  let error: NodeJS.ErrnoException | undefined
  rig.sockets[1]!.on('error', (err) => (error = err)).resume()
  peer.socket.write(frame(3, 0, 3, Buffer.from([0, 0, 0, 8])))
  await until('the application hears of it', () => error !== undefined)
  assert.equal(error?.code, 'ECONNRESET')
  peer.close()
})

test('names that a handshake without a tunnel asks for are asked of who opened it', async () => {
  const named = (value: string): NonNullable<HboneOptions['validation']> => ({
    roots: { from: 'workload' },
    sans: [{ type: 'uri', match: { kind: 'exact', value, ignoreCase: false } }],
  })
  for (const [name, isServed] of [
    [CLIENT, true],
    ['spiffe://cluster.local/ns/shop/sa/other', false],
  ] as const) {
    await using rig = await HboneRig.open({ validation: named(name) })
    const peer = await rig.peer()
    peer.socket.write(Buffer.concat([connect(1, `${HERE}:${rig.ports.tcp}`), data(1, 'hello')]))
    if (isServed) await until('the application is connected', () => rig.sockets.length === 1)
    else assert.equal(await answerOf(peer, 1), 401)
    assert.equal(rig.sockets.length, isServed ? 1 : 0)
    peer.close()
  }
})

test('a line about a refused tunnel names who asked for it, by which lines are bounded', async () => {
  const lines: Record<string, unknown>[] = []
  const log = createLog('warn', { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) })
  await using rig = await HboneRig.open({ log })
  const peer = await rig.peer()
  peer.socket.write(connect(1, '10.0.0.1:80'))
  assert.equal(await answerOf(peer, 1), 400)
  const [line] = lines.filter(({ evt }) => evt === 'tunnel.refused')
  assert.equal(line?.['peer'], `${HERE}:${peer.socket.localPort}`)
  assert.equal(line['spiffeId'], CLIENT)
  peer.close()
})
