import { test } from 'node:test'
import assert from 'node:assert/strict'
import { EventEmitter, once as anyOnce } from 'node:events'
import net from 'node:net'
import { listenForDefects } from '../../../core/defects/guard.ts'
import { waitUntilOpen, systemNetwork, type Address, type Datagrams } from '../../../core/os/network.ts'
import { SimNetwork } from '../../helpers/sim-network.ts'

/** Ends also when nothing comes: an open socket would keep the test run alive. */
const once = (ear: Ear, event: 'heard' | 'trouble'): Promise<unknown[]> =>
  anyOnce(ear, event, { signal: AbortSignal.timeout(5_000) })
type Heard = { readonly text: string; readonly from: Address }
class Ear extends EventEmitter {
  readonly heard: Heard[] = []
  readonly onDatagram = (bytes: Buffer, from: Address): void => {
    this.heard.push({ text: bytes.toString(), from })
    this.emit('heard')
  }
  readonly onError = (err: Error): void => {
    this.emit('trouble', err)
  }
}

for (const [kind, network] of [
  ['real', systemNetwork],
  ['simulated', new SimNetwork()],
] as const) {
  test(`UDP, ${kind}: there and back, with the sender's address`, async () => {
    const [server, client] = [new Ear(), new Ear()]
    await using a: Datagrams = await network.bindUdp({ host: '127.0.0.1', port: 0 }, server)
    await using b = await network.bindUdp({ host: '127.0.0.1', port: 0 }, client)
    b.send(Buffer.from('ask'), { host: '127.0.0.1', port: a.port })
    await once(server, 'heard')
    assert.deepEqual(server.heard, [{ text: 'ask', from: { host: '127.0.0.1', port: b.port } }])
    a.send(Buffer.from('answer'), server.heard[0]!.from)
    await once(client, 'heard')
    assert.equal(client.heard[0]?.text, 'answer')
  })
  test(`UDP, ${kind}: a socket with a peer hears nobody else`, async () => {
    const [peer, other, ear] = [new Ear(), new Ear(), new Ear()]
    await using a = await network.bindUdp({ host: '127.0.0.1', port: 0 }, peer)
    await using b = await network.bindUdp({ host: '127.0.0.1', port: 0 }, other)
    await using c = await network.bindUdp({ host: '127.0.0.1', port: 0 }, ear, {
      peer: { host: '127.0.0.1', port: a.port },
    })
    b.send(Buffer.from('forged'), { host: '127.0.0.1', port: c.port })
    a.send(Buffer.from('real'), { host: '127.0.0.1', port: c.port })
    await once(ear, 'heard')
    assert.deepEqual(
      ear.heard.map((h) => h.text),
      ['real'],
    )
  })
  test(`UDP, ${kind}: a socket with a peer hears that nobody is there`, async () => {
    const ear = new Ear()
    const gone = await network.bindUdp({ host: '127.0.0.1', port: 0 }, new Ear())
    await gone[Symbol.asyncDispose]()
    await using socket = await network.bindUdp({ host: '127.0.0.1', port: 0 }, ear, {
      peer: { host: '127.0.0.1', port: gone.port },
    })
    socket.send(Buffer.from('?'), { host: '127.0.0.1', port: gone.port })
    const [err] = (await once(ear, 'trouble')) as [NodeJS.ErrnoException]
    assert.equal(err.code, 'ECONNREFUSED')
  })
  test(`UDP, ${kind}: a taken port is refused; a closed socket sends nothing and closes twice`, async () => {
    const first = await network.bindUdp({ host: '127.0.0.1', port: 0 }, new Ear())
    await assert.rejects(network.bindUdp({ host: '127.0.0.1', port: first.port }, new Ear()), { code: 'EADDRINUSE' })
    await first[Symbol.asyncDispose]()
    await first[Symbol.asyncDispose]()
    first.send(Buffer.from('x'), { host: '127.0.0.1', port: 9 })
    await using again = await network.bindUdp({ host: '127.0.0.1', port: first.port }, new Ear())
    assert.equal(again.port, first.port)
  })
}
test('UDP, real: one socket for both families answers an IPv4 client by its IPv4 address', async () => {
  const [server, client] = [new Ear(), new Ear()]
  await using a = await systemNetwork.bindUdp({ host: '::', port: 0 }, server)
  await using b = await systemNetwork.bindUdp({ host: '127.0.0.1', port: 0 }, client)
  b.send(Buffer.from('ask'), { host: '127.0.0.1', port: a.port })
  await once(server, 'heard')
  assert.equal(server.heard[0]?.from.host, '127.0.0.1')
  a.send(Buffer.from('answer'), server.heard[0]!.from)
  await once(client, 'heard')
})

test('a connection that cannot be accepted, or whose owner throws, takes no listener with it', async () => {
  let server: net.Server | undefined
  const told: string[] = []
  using _heard = listenForDefects((part) => {
    told.push(part)
  })
  await using listening = await waitUntilOpen(
    (made) => {
      server = made
      made.listen(0, '127.0.0.1')
    },
    () => {
      throw new Error('a defect of the owner')
    },
  )
  server!.emit('error', Object.assign(new Error('accept EMFILE'), { code: 'EMFILE' }))
  for (let i = 0; i < 2; i++) {
    const socket = net.connect(listening.port, '127.0.0.1').on('error', () => {})
    await anyOnce(socket.resume(), 'close')
  }
  assert.deepEqual(told, ['network', 'network'])
})
