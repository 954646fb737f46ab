import { test } from 'node:test'
import assert from 'node:assert/strict'
import { nameCommandTopic, parseTopic, listSequencedTopics } from '../../../../protocols/mqtt/sparkplug/topic.ts'

for (const [topic, found] of [
  ['spBv1.0/plant/NBIRTH/press', { type: 'NBIRTH', node: 'plant/press' }],
  ['spBv1.0/plant/DDATA/press/axis-1', { type: 'DDATA', node: 'plant/press' }],
  ['spBv1.0/plant/DDATA/press', undefined],
  ['spBv1.0/plant/NDATA/press/axis-1', undefined],
  ['spBv1.0/plant/DDATA/press/axis/1', undefined],
  ['spBv1.0/plant/NOISE/press', undefined],
  ['spBv1.0/STATE/scada', undefined],
  ['spBv1.0//NDATA/press', undefined],
  ['spBv1.0/plant/NDATA/', undefined],
  ['spAv1.0/plant/NDATA/press', undefined],
  ['site/spBv1.0/plant/NDATA/press', undefined],
] as const)
  test(`topic ${topic}`, () => {
    assert.deepEqual(parseTopic(topic), found)
  })

test('an Edge Node with a name that looks like something else', () => {
  assert.equal(nameCommandTopic('$1/$&'), 'spBv1.0/$1/NCMD/$&')
  assert.deepEqual(listSequencedTopics('g/NBIRTH').slice(0, 2), ['spBv1.0/g/NBIRTH/NBIRTH', 'spBv1.0/g/NDATA/NBIRTH'])
})
