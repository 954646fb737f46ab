import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { MOST_LINGERING } from '../../../../protocols/mqtt/topics/lingering.ts'
import { matches } from '../../../../protocols/mqtt/topics/topics.ts'
import { MANY } from '../../../../protocols/mqtt/topics/demand.ts'
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

test('the same of more paths than linger, which are taken out one by one', () => {
  const [place, few] = [fc.nat({ max: 60 }), fc.nat({ max: 2 })]
  const some = fc.oneof(
    place.map(String),
    fc.tuple(place, few).map((levels) => levels.join('/')),
  )
  const step = fc.record({ path: some, isGone: fc.boolean() })
  fc.assert(
    fc.property(fc.array(step, { minLength: 600, maxLength: 600 }), (steps) => {
      const [tree, held] = [new TopicTree<string>(), new Set<string>()]
      for (const { path, isGone } of steps) {
        if (isGone) tree.delete(path)
        else tree.set(path, path)
        if (isGone) held.delete(path)
        else held.add(path)
        assert.equal(tree.get(path), isGone ? undefined : path)
      }
      assert.equal(tree.size, held.size)
      for (const filter of ['+', '#', '3/#', '+/4'])
        assert.deepEqual(
          visited((visit) => tree.visitTopics(filter, visit)),
          [...held].filter((topic) => matches(filter, topic)).toSorted(),
        )
    }),
    { numRuns: 50 },
  )
})

for (const more of [0, 1])
  test(`a path that lingers above one that was taken out${more ? ', and is taken out next,' : ''} can be set again`, () => {
    const tree = new TopicTree<string>()
    for (const path of ['a', 'a/b']) tree.set(path, path)
    for (const path of ['a/b', 'a']) tree.delete(path)
    for (let i = 0; i < MOST_LINGERING - 1 + more; i++) {
      tree.set(`x${i}`, 'x')
      tree.delete(`x${i}`)
    }
    assert.equal(tree.size, 0)
    tree.set('a', 'a')
    assert.deepEqual([tree.get('a'), tree.size], ['a', 1])
    assert.deepEqual(
      visited((visit) => tree.visitTopics('+', visit)),
      ['a'],
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

test('a thousand filters that all match are left out of a search that has all they ask for, and visited when one asks for more', () => {
  const filters = Array.from({ length: 1024 }, (_, i) =>
    Array.from({ length: 10 }, (__, bit) => ((i >> bit) & 1 ? '+' : 'x')).join('/'),
  )
  const topic = 'x/x/x/x/x/x/x/x/x/x'
  const summed = new TopicTree<string>((value) => (value === 'many' ? MANY : []))
  for (const one of filters) summed.set(one, one)
  const search = (isMet = true): string[] =>
    visited((visit) => summed.visitFilters(topic, visit, (demand) => isMet && demand !== MANY))
  assert.deepEqual(search(false), filters.toSorted())
  assert.ok(search().length < 100, `${search().length} were visited`)
  for (const last of [filters.at(-1)!, filters.at(-2)!]) {
    summed.set(last, 'many')
    summed.noteChange(last)
    assert.ok(search().includes('many'), last)
    assert.ok(search().length < 100, `${search().length} were visited`)
    summed.set(last, last)
    summed.noteChange(last)
    assert.ok(!search().includes(last))
  }
})
