import { test } from 'node:test'
import assert from 'node:assert/strict'
import { HoldingBlock } from '../../../protocols/http/holding-block.ts'

test('small parts are put together, whether or not they have memory of their own, and large ones stay as they are', () => {
  const large = Buffer.allocUnsafeSlow(2_000).fill('l')
  const list: Buffer[] = []
  const block = new HoldingBlock()
  for (let i = 0; i < 100; i++) block.add(list, Buffer.allocUnsafeSlow(1).fill('o'))
  block.add(list, Buffer.alloc(64 * 1024, 'v').subarray(0, 50))
  block.add(list, large)
  block.add(list, Buffer.allocUnsafeSlow(1).fill('o'))
  assert.deepEqual(
    list.map(({ length }) => length),
    [150, 2_000, 1],
  )
  assert.equal(list[1], large)
  assert.equal(Buffer.concat(list).toString(), `${'o'.repeat(100)}${'v'.repeat(50)}${'l'.repeat(2_000)}o`)
})

test('an empty part stays a part of its own: it carries the end of a stream', () => {
  const [list, block]: [Buffer[], HoldingBlock] = [[], new HoldingBlock()]
  for (const text of ['a', '', 'b']) block.add(list, Buffer.from(text))
  assert.deepEqual(
    list.map((part) => part.toString()),
    ['a', '', 'b'],
  )
})
