import { test } from 'node:test'
import assert from 'node:assert/strict'
import { StreamsById } from '../../../../../protocols/http/h2/stream/by-id.ts'
import type { Http2Stream } from '../../../../../protocols/http/h2/stream/stream.ts'
import { seededRandom } from '../../../../helpers/random.ts'

const stream = (id: number): Http2Stream => ({ id }) as unknown as Http2Stream

for (const [what, step] of [
  ['that follow one another', 2],
  // All of them belong to one place.
  ['that a peer has chosen to collide', 2 ** 12],
] as const)
  test(`holds what a Map would, of ids ${what}`, () => {
    const random = seededRandom(step)
    const table = new StreamsById()
    const model = new Map<number, Http2Stream>()
    for (let i = 0; i < 5_000; i++) {
      if (model.size < 100 && random.float() < 0.6) {
        const one = stream(1 + i * step)
        table.add(one)
        model.set(one.id, one)
      } else {
        const id = 1 + Math.floor(random.float() * i) * step
        assert.equal(table.get(id), model.get(id))
        const [oldest = id] = model.keys()
        const leaves = random.float() < 0.5 ? id : oldest
        assert.equal(table.delete(leaves), model.delete(leaves))
      }
      assert.equal(table.size, model.size)
    }
    assert.deepEqual(
      table.list(),
      [...model.values()].sort((a, b) => a.id - b.id),
    )
    for (const id of model.keys()) assert.equal(table.get(id), model.get(id))
  })
