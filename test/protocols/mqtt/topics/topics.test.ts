import { test } from 'node:test'
import assert from 'node:assert/strict'
import { TopicTree } from '../../../../protocols/mqtt/topics/topic-tree.ts'
import {
  covers,
  filterProblem,
  isReserved,
  matches,
  overlap,
  parseSharedFilter,
} from '../../../../protocols/mqtt/topics/topics.ts'

const MATCHING = [
  ['a/b', 'a/b', true],
  ['a/b', 'a/c', false],
  ['a/b', 'a/b/c', false],
  ['a/b/c', 'a/b', false],
  ['+', 'a', true],
  ['+', '/a', false],
  ['+/+', '/a', true],
  ['/+', '/a', true],
  ['a/+', 'a', false],
  ['a/+', 'a/', true],
  ['a/#', 'a', true],
  ['a/#', 'a/b/c', true],
  ['#', 'a/b', true],
  ['#', '/', true],
  ['#', '$SYS/x', false],
  ['+/x', '$SYS/x', false],
  ['$SYS/#', '$SYS/x', true],
  ['a/+/c', 'a/$b/c', true],
  ['a/+/#', 'a', false],
  ['A', 'a', false],
] as const
for (const [filter, topic, want] of MATCHING) {
  test(`[MQTT-4.7] ${filter} ${want ? 'matches' : 'does not match'} ${topic}`, () => {
    assert.equal(matches(filter, topic), want)
    const filters = new TopicTree<string>()
    filters.set(filter, filter)
    let hits = 0
    filters.visitFilters(topic, () => {
      hits++
    })
    assert.equal(hits, want ? 1 : 0, 'tree of filters')
    const topics = new TopicTree<string>()
    topics.set(topic, topic)
    hits = 0
    topics.visitTopics(filter, () => {
      hits++
    })
    assert.equal(hits, want ? 1 : 0, 'tree of topics')
  })
}

for (const [filter, statement] of [
  ['', '4.7.3-1'],
  ['a/#/b', '4.7.1-1'],
  ['a#', '4.7.1-1'],
  ['a+/b', '4.7.1-2'],
  ['++', '4.7.1-2'],
] as const) {
  test(`${filter || '(empty)'} is no filter: ${statement}`, () =>
    assert.match(filterProblem(filter) ?? '', new RegExp(statement.replaceAll('.', '\\.'))))
}
for (const filter of ['a', '/', '#', '+', 'a/+/#', '$SYS/#'])
  test(`${filter} is a filter`, () => assert.equal(filterProblem(filter), undefined))

test('[MQTT-4.8.2-1, -2] the name of a shared subscription', () => {
  assert.deepEqual(parseSharedFilter('$share/g/a/#'), { group: 'g', filter: 'a/#' })
  assert.deepEqual(parseSharedFilter('$share/g//a'), { group: 'g', filter: '/a' })
  assert.equal(parseSharedFilter('a'), undefined)
  for (const bad of ['$share', '$share/', '$share/g', '$share/g/', '$share//a', '$share/+/a', '$share/g#/a'])
    assert.equal(parseSharedFilter(bad), 'invalid', bad)
})

for (const [outer, inner, cover, common] of [
  ['#', 'a/#', true, true],
  ['a/#', '#', false, true],
  ['a/+', 'a/b', true, true],
  ['a/+', 'a/#', false, true],
  ['a/b', 'a/+', false, true],
  ['+/b', 'a/+', false, true],
  ['a/#', 'b/#', false, false],
  ['a', 'a/#', false, true],
  ['#', '$SYS/#', false, false],
  ['a/b', 'a/c', false, false],
  ['+', '+', true, true],
  ['a/+/c', 'a/b/d', false, false],
] as const) {
  test(`${outer} ${cover ? 'covers' : 'does not cover'} ${inner} and they ${common ? 'overlap' : 'do not overlap'}`, () => {
    assert.equal(covers(outer, inner), cover)
    assert.equal(overlap(outer, inner), common)
    assert.equal(overlap(inner, outer), common)
  })
}

test('a tree forgets what was deleted and keeps what lies below and beside', () => {
  const tree = new TopicTree<number>()
  tree.set('a', 1)
  tree.set('a/b/c', 2)
  tree.set('a/b', 3)
  tree.delete('a/b')
  tree.delete('x/y')
  assert.deepEqual([tree.get('a'), tree.get('a/b'), tree.get('a/b/c')], [1, undefined, 2])
  tree.delete('a/b/c')
  tree.delete('a')
  let left = 0
  tree.visitTopics('#', () => {
    left++
  })
  assert.equal(left, 0)
})

test('topics that no client publishes to', () => {
  for (const topic of ['$SYS', '$SYS/x', '$share/g/a', '$share']) assert.equal(isReserved(topic), true, topic)
  for (const topic of ['a', 'a/$SYS', '$SYSTEM', '$shared/x', '$aws/things', '$SYS/broker/connection/site/state'])
    assert.equal(isReserved(topic), false, topic)
})
