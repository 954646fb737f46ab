import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { matches } from '../../../../protocols/mqtt/topics/topics.ts'
import { TopicTree } from '../../../../protocols/mqtt/topics/topic-tree.ts'

const level = fc.constantFrom('a', 'b', 'c', '', '$a')
const topic = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/'))
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 1, maxLength: 4 }), fc.boolean())
  .map(([levels, isOpen]) => [...levels, ...(isOpen ? ['#'] : [])].join('/'))
const visited = (walk: (visit: (value: string) => void) => void): string[] => {
  const found: string[] = []
  walk((value) => found.push(value))
  return found.toSorted()
}

test('whatever is put in and taken out, filters are found by topic and topics by filter as if each was compared', () => {
  const step = fc.record({ topic, filter, isGone: fc.boolean() })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.array(topic), fc.array(filter), (steps, asked, askedBy) => {
      const [filters, topics] = [new TopicTree<string>(), new TopicTree<string>()]
      const [heldFilters, heldTopics] = [new Set<string>(), new Set<string>()]
      for (const one of steps) {
        for (const [tree, held, path] of [
          [filters, heldFilters, one.filter],
          [topics, heldTopics, one.topic],
        ] as const) {
          if (one.isGone) tree.delete(path)
          else tree.set(path, path)
          if (one.isGone) held.delete(path)
          else held.add(path)
          assert.equal(tree.get(path), one.isGone ? undefined : path)
          assert.equal(tree.size, held.size)
        }
      }
      for (const one of [...asked, ...steps.map((s) => s.topic)])
        assert.deepEqual(
          visited((visit) => filters.visitFilters(one, visit)),
          [...heldFilters].filter((f) => matches(f, one)).toSorted(),
        )
      for (const one of [...askedBy, ...steps.map((s) => s.filter)])
        assert.deepEqual(
          visited((visit) => topics.visitTopics(one, visit)),
          [...heldTopics].filter((t) => matches(one, t)).toSorted(),
        )
    }),
    { numRuns: 500 },
  )
})

test('[MQTT-4.7.2-1] only the first level keeps wildcards out with a $', () => {
  const topics = new TopicTree<string>()
  for (const one of ['$a/b', 'a/$b', 'a/b/$c']) topics.set(one, one)
  assert.deepEqual(
    visited((visit) => topics.visitTopics('#', visit)),
    ['a/$b', 'a/b/$c'],
  )
})
