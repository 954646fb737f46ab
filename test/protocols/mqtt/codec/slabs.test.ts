import { test } from 'node:test'
import assert from 'node:assert/strict'
import net from 'node:net'
import { once } from 'node:events'
import { Flusher } from '../../../../protocols/mqtt/codec/flusher.ts'
import { Outbox } from '../../../../protocols/mqtt/codec/outbox.ts'
import { SLAB_BYTES, Slabs } from '../../../../protocols/mqtt/codec/slabs.ts'

test('a slab is written anew when all of its regions were given back, and not when a stream may have one', () => {
  const slabs = new Slabs(SLAB_BYTES)
  const [first, second] = [slabs.takeRegion(100, 100), slabs.takeRegion(100, 100)]
  assert.deepEqual([second.slab, second.at], [first.slab, 100])
  slabs.release(first, true)
  assert.equal(slabs.takeRegion(100, 100).at, 200, 'somebody still has a region')
  const other = new Slabs(SLAB_BYTES)
  const lost = other.takeRegion(100, 100)
  other.release(lost, false)
  assert.equal(other.takeRegion(100, 100).at, 100)
  const again = new Slabs(SLAB_BYTES)
  again.release(again.takeRegion(100, 100), true)
  assert.equal(again.takeRegion(100, 100).at, 0)
})

test('slabs that are not in use are kept as far as allowed', () => {
  const slabs = new Slabs(2 * SLAB_BYTES)
  const use = (): Set<Buffer> => {
    const regions = Array.from({ length: 8 }, () => slabs.takeRegion(SLAB_BYTES, SLAB_BYTES))
    for (const region of regions) slabs.release(region, true)
    return new Set(regions.map(({ buf }) => buf))
  }
  const [first, second] = [use(), use()]
  assert.equal(first.intersection(second).size, 3, 'two, and the one that is written into')
})

test('over sockets, one of which is not read from, everybody gets what was written for them', async () => {
  const server = net.createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const flusher = new Flusher()
  const pairs: { near: net.Socket; far: net.Socket; outbox: Outbox }[] = []
  for (let i = 0; i < 3; i++) {
    const near = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1')
    const [far] = (await once(server, 'connection')) as [net.Socket]
    const outbox = new Outbox({ stream: far, flusher, version: 4 })
    pairs.push({ near, far, outbox })
  }
  const got = pairs.map(() => [] as Buffer[])
  pairs.forEach(({ near }, i) => near.on('data', (chunk: Buffer) => got[i]!.push(chunk)))
  pairs[0]!.near.pause()
  const MESSAGES = 20_000
  for (let i = 0; i < MESSAGES; i++) {
    for (const [k, { outbox }] of pairs.entries())
      outbox.publish({ topic: 't', payload: payloadOf(i, k), properties: new Uint8Array(0) }, 0, 0, undefined, [])
    if (i % 20 === 0) await new Promise(setImmediate)
  }
  pairs[0]!.near.resume()
  flusher.flush()
  for (const { far } of pairs) far.end()
  await Promise.all(pairs.map(({ near }) => once(near, 'end')))
  server.close()
  for (const [k, chunks] of got.entries()) {
    const all = Buffer.concat(chunks)
    assert.equal(all.length, MESSAGES * 706)
    for (let i = 0; i < MESSAGES; i++) {
      const one = Buffer.concat([Buffer.from([0x30, 0xbf, 0x05, 0, 1, 0x74]), payloadOf(i, k)])
      assert.ok(one.equals(all.subarray(i * 706, (i + 1) * 706)), `message ${i} of receiver ${k}`)
    }
  }
})

const payloadOf = (message: number, receiver: number): Uint8Array => new Uint8Array(700).fill(message * 3 + receiver)
