import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { MeshError } from '../../../../core/errors.ts'
import { MAX_ROWS, readPages, type Place } from '../../../../hub/cli/operations/pages.ts'

/** A list of so many rows, and what was asked of it. */
function makeList(count: number, asked: Place[]) {
  return async (place: Place) => {
    asked.push(place)
    const rows = Array.from(
      { length: Math.max(0, Math.min(place.limit, count - place.offset)) },
      (_, i) => place.offset + i,
    )
    return { total: count, rows }
  }
}

test('a list comes whole, in its order, or its first rows alone', async () => {
  for (const [count, most, places] of [
    [0, undefined, 1],
    [500, undefined, 1],
    [1_201, undefined, 3],
    [1_201, 3, 1],
    [1_201, 501, 2],
    [2, 9, 1],
  ] as const) {
    const asked: Place[] = []
    const { total, rows } = await readPages(makeList(count, asked), most)
    const length = Math.min(count, most ?? count)
    assert.deepEqual([total, rows], [count, Array.from({ length }, (_, i) => i)])
    assert.equal(asked.length, places)
  }
})

test('a list without an end is given up on, and one that gives more than was asked for is cut', async () => {
  const asked: Place[] = []
  await assert.rejects(
    readPages(makeList(Number.MAX_SAFE_INTEGER, asked)),
    (err: MeshError) => err.code === 'MESH_HUB_ANSWER',
  )
  assert.equal(asked.length, MAX_ROWS / 500)
  const flood = async () => ({ total: 10, rows: Array.from({ length: 100_000 }, () => 'x') })
  assert.equal((await readPages(flood, 10)).rows.length, 10)
})
