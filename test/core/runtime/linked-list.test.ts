import { test } from 'node:test'
import assert from 'node:assert/strict'
import { LinkedList, type Place } from '../../../core/runtime/linked-list.ts'
import { seededRandom } from '../../helpers/random.ts'

test('entries stand in the order in which they came, whoever leaves', () => {
  const random = seededRandom(1)
  const list = new LinkedList<number>()
  const model = new Set<number>()
  const places: Place<number>[] = []
  for (let i = 0; i < 5_000; i++) {
    const what = random.float()
    if (what < 0.5) {
      places[i] = list.add(i)
      model.add(i)
    } else if (what < 0.9) {
      const at = Math.floor(random.float() * i)
      if (places[at]) list.delete(places[at])
      model.delete(at)
    } else {
      const [first] = model
      assert.equal(list.shift(), first)
      model.delete(first!)
    }
    assert.equal(list.size, model.size)
    if (i % 100 === 0) assert.deepEqual([...list], [...model])
  }
  while (list.size > 0) list.shift()
  assert.deepEqual([[...list], list.size, list.shift()], [[], 0, undefined])
})

test('who leaves while the list is walked is left out, and who comes waits for the next walk', () => {
  const list = new LinkedList<string>()
  const [, b, c] = ['a', 'b', 'c', 'd'].map((value) => list.add(value))
  const seen: string[] = []
  for (const value of list) {
    seen.push(value)
    if (value === 'b') {
      list.delete(b!)
      list.delete(c!)
      list.add('e')
    }
  }
  assert.deepEqual(seen, ['a', 'b', 'd'])
  assert.deepEqual([...list], ['a', 'd', 'e'])
})

test('a place that was given up refers to nothing: its neighbours may be collected', () => {
  const list = new LinkedList<object>()
  const places = [{}, {}, {}].map((value) => list.add(value))
  list.delete(places[1]!)
  list.delete(places[1]!)
  const { value, next, previous } = places[1]!
  assert.deepEqual([value, next, previous], [undefined, undefined, undefined])
  assert.equal(list.size, 2)
})
