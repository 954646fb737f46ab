import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { closeBlocks, PackedResource, Unpacked, readBytes } from '../../../control-sync/snapshot/packed-resource.ts'

const kept = (value: Uint8Array, name = 'r'): PackedResource => new PackedResource({ name, version: '', value })
/** Like each other, as those of a mesh are. */
const service = (i: number): Uint8Array => Buffer.from(`outbound|80||svc-${i}.apps.svc.cluster.local `.repeat(20))

test('any resources say the same when they are packed, and when their block was closed in between', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 40 }), (values) => {
      const all = values.map((value) => kept(Uint8Array.from(value)))
      PackedResource.pack(all)
      for (const [i, resource] of all.entries()) {
        assert.deepEqual(Buffer.from(resource.view), Buffer.from(values[i]!))
        if (i % 7 === 0) closeBlocks()
        assert.deepEqual(Buffer.from(resource.value), Buffer.from(values[i]!))
      }
    }),
  )
})

test('a value outlives the block that it came from, a view does not', () => {
  const one = kept(service(1))
  PackedResource.pack([one, ...Array.from({ length: 300 }, (_, i) => kept(service(i)))])
  const [value, view] = [one.value, readBytes(one)]
  closeBlocks()
  assert.deepEqual(Buffer.from(value), service(1))
  assert.equal(view.length, 0)
})

test('little is left as it is; much goes into blocks, without what has been replaced in the meantime', () => {
  const unpacked = new Unpacked()
  const own = Uint8Array.from(service(0))
  const first = kept(own)
  unpacked.add(first)
  assert.deepEqual([[...unpacked.pack(() => true)], first.value === own], [[], true])
  const more = Array.from({ length: 1_000 }, (_, i) => kept(service(i + 1), `r${i}`))
  for (const r of more) unpacked.add(r)
  const steps = [...unpacked.pack((r) => r !== first)].length
  const bytes = more.reduce((sum, r) => sum + r.length, 0)
  assert.ok(steps >= bytes / (256 * 1024) && steps < bytes / (128 * 1024), `${steps} blocks for ${bytes} bytes`)
  assert.equal(first.value, own)
  for (const [i, r] of more.entries()) assert.deepEqual(Buffer.from(r.value), service(i + 1))
  assert.deepEqual([...unpacked.pack(() => true)], [], 'nothing is packed twice')
})

test('little of a large message does not keep the message', () => {
  const message = Buffer.alloc(100 * 1024, service(1))
  const resource = kept(message.subarray(0, 900))
  const unpacked = new Unpacked()
  unpacked.add(resource)
  assert.deepEqual([...unpacked.pack(() => true)], [])
  assert.deepEqual([resource.value.buffer.byteLength, Buffer.from(resource.value)], [900, message.subarray(0, 900)])
})

test('one that is large has a block of its own, and says how it is packed; of others nobody asks', () => {
  const unpacked = new Unpacked()
  const bytes = Buffer.alloc(300 * 1024, 'host.apps.svc.cluster.local ')
  const large = kept(bytes)
  assert.equal(large.packed, undefined)
  const [one, two] = [kept(service(1)), kept(service(2))]
  for (const r of [one, large, two]) unpacked.add(r)
  assert.equal([...unpacked.pack(() => true)].length, 2)
  assert.deepEqual([one.packed, two.packed], [undefined, undefined])
  const again = PackedResource.fromPacked({ name: 'r', version: 'v' }, large.packed!, large.length)
  for (const r of [large, again]) assert.deepEqual(Buffer.from(r.value), bytes)
  assert.deepEqual([again.name, again.version, again.length], ['r', 'v', bytes.length])
  assert.equal(again.packed, large.packed)
  // It is packed already.
  unpacked.add(again)
  assert.deepEqual([...unpacked.pack(() => true)], [])
})
