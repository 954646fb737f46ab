import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MemoryBudget } from '../../../../core/runtime/memory-budget.ts'
import { TopicAliases } from '../../../../protocols/mqtt/connection/topic-aliases.ts'

test('an alias stands for the topic that it was set to last; each is counted as long as it stands', () => {
  const budget = new MemoryBudget({ maxBytes: 1e6 })
  const aliases = new TopicAliases(2, budget)
  assert.equal(aliases.resolveTopic({ topic: 'a/b', topicAlias: 1 }), 'a/b')
  assert.equal(aliases.resolveTopic({ topic: '', topicAlias: 1 }), 'a/b')
  assert.equal(aliases.resolveTopic({ topic: 'longer', topicAlias: 1 }), 'longer')
  assert.equal(aliases.resolveTopic({ topic: '', topicAlias: 1 }), 'longer')
  assert.deepEqual([aliases.bytes, budget.heldBytes], [6, 6])
  aliases.end()
  assert.deepEqual([aliases.bytes, budget.heldBytes], [0, 0])
})

test('a PUBLISH without an alias sets none', () => {
  const aliases = new TopicAliases(2, new MemoryBudget({ maxBytes: 1e6 }))
  assert.equal(aliases.resolveTopic({ topic: 'a/b', topicAlias: 0 }), 'a/b')
  assert.equal(aliases.bytes, 0)
})

test('[MQTT-3.3.2-9] an alias above the maximum, and one that was never set, end the connection', () => {
  const aliases = new TopicAliases(2, new MemoryBudget({ maxBytes: 1e6 }))
  assert.throws(() => aliases.resolveTopic({ topic: 'a', topicAlias: 3 }), /MQTT-3.3.2-9/)
  assert.throws(() => aliases.resolveTopic({ topic: '', topicAlias: 2 }), /never set/)
})
