import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import tls from 'node:tls'
import { leaveOutReadTicks } from '../../../../core/os/sockets/read-ticks.ts'
import { seededRandom } from '../../../helpers/random.ts'

/** PSK needs no certificate. */
const PSK = { ciphers: 'PSK', maxVersion: 'TLSv1.2', allowHalfOpen: true } as const
const KEY = Buffer.alloc(16, 7)

type Pair = AsyncDisposable & { readonly near: net.Socket; readonly far: net.Socket }

async function createPair(kind: 'tcp' | 'tls'): Promise<Pair> {
  const server =
    kind === 'tcp' ? net.createServer({ allowHalfOpen: true }) : tls.createServer({ ...PSK, pskCallback: () => KEY })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as net.AddressInfo
  const accepted = once(server, kind === 'tcp' ? 'connection' : 'secureConnection')
  const near =
    kind === 'tcp'
      ? net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
      : tls.connect({
          ...PSK,
          port,
          host: '127.0.0.1',
          checkServerIdentity: () => undefined,
          pskCallback: () => ({ psk: KEY, identity: 'me' }),
        })
  const [far] = (await accepted) as [net.Socket]
  return {
    near,
    far,
    async [Symbol.asyncDispose]() {
      for (const socket of [near, far]) socket.destroy()
      await new Promise((resolve) => {
        server.close(resolve)
      })
    },
  }
}

for (const kind of ['tcp', 'tls'] as const) {
  test(`${kind}: no tick for a chunk`, async (t) => {
    await using pair = await createPair(kind)
    const ticks = t.mock.method(process, 'nextTick')
    const countAsked = (): number =>
      ticks.mock.calls.filter(({ arguments: [f] }) => (f as () => void).name === 'maybeReadMore_').length
    const { near, far } = pair
    far.on('data', () => {})
    const receive = async (): Promise<number> => {
      const before = countAsked()
      near.write('x')
      await once(far, 'data')
      return countAsked() - before
    }
    await receive()
    assert.equal(await receive(), 1, 'Node asks')
    leaveOutReadTicks(far)
    assert.equal(await receive(), 0)
  })

  test(`${kind}: every byte comes, through pauses of any length, and the end`, async () => {
    await using pair = await createPair(kind)
    const { near, far } = pair
    const random = seededRandom(7)
    leaveOutReadTicks(far)
    const [sent, received] = [createHash('sha256'), createHash('sha256')]
    let pauses = 0
    far.on('data', (chunk: Buffer) => {
      received.update(chunk)
      if (random.float() < 0.3) {
        far.pause()
        pauses++
        const turns = Math.floor(random.float() * 20)
        void (async () => {
          for (let i = 0; i < turns; i++) await turn()
          far.resume()
        })()
      }
    })
    const over = once(far, 'end')
    for (let left = 8 * 1024 * 1024; left > 0;) {
      const chunk = Buffer.alloc(1 + Math.floor(random.float() * 200_000), random.float().toString())
      left -= chunk.length
      sent.update(chunk)
      if (!near.write(chunk)) await once(near, 'drain')
    }
    near.end()
    await over
    assert.ok(pauses > 10)
    assert.equal(received.digest('hex'), sent.digest('hex'))
    // The other way is still open.
    far.end('bye')
    const [answer] = (await once(near, 'data')) as [Buffer]
    assert.equal(answer.toString(), 'bye')
  })
}
