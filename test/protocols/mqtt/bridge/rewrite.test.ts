import { test } from 'node:test'
import assert from 'node:assert/strict'
import { planRewrite } from '../../../../protocols/mqtt/bridge/rewrite.ts'
import { matches } from '../../../../protocols/mqtt/topics/topics.ts'
import { findTemplateProblem } from '../../../../model/mqtt/topic-template.ts'
import { seededRandom } from '../../../helpers/random.ts'

const NAMES = { 'node.id': 'edge-1', cluster: 'cloud' }

for (const { name, topic, stripPrefix = '', addPrefix = '', want } of [
  { name: 'nothing to do', topic: 'a/b', want: 'a/b' },
  { name: 'a prefix goes', topic: 'a/b', stripPrefix: 'a/', want: 'b' },
  { name: 'a prefix comes', topic: 'a/b', addPrefix: 'site/', want: 'site/a/b' },
  { name: 'one for the other', topic: 'a/b', stripPrefix: 'a/', addPrefix: 'site/', want: 'site/b' },
  {
    name: 'a prefix that is not there is not missed',
    topic: 'x/b',
    stripPrefix: 'a/',
    addPrefix: 'site/',
    want: 'site/x/b',
  },
  { name: '[MQTT-4.7.3-1] a topic never becomes empty', topic: 'a/', stripPrefix: 'a/', want: 'a/' },
  {
    name: '[MQTT-4.7.3-3] a topic never becomes longer than 65,535 bytes',
    topic: 'ü'.repeat(30_000),
    addPrefix: 'p'.repeat(6_000),
    want: 'ü'.repeat(30_000),
  },
  {
    name: 'up to that it may',
    topic: 'x'.repeat(60_000),
    addPrefix: 'p'.repeat(5_535),
    want: 'p'.repeat(5_535) + 'x'.repeat(60_000),
  },
])
  test(`rename: ${name}`, () =>
    assert.equal(planRewrite({ match: '#', stripPrefix, addPrefix }, NAMES).there(topic), want))

const template = (match: string, topic: string) => planRewrite({ match, topic, stripPrefix: '', addPrefix: '' }, NAMES)

for (const { match, topic, given, want } of [
  { match: 'a/b', topic: 'c', given: 'a/b', want: 'c' },
  { match: 'a/+', topic: 'sites/${node.id}/$1', given: 'a/x', want: 'sites/edge-1/x' },
  { match: '+/+/#', topic: '$3/$2/$1', given: 'a/b/c/d', want: 'c/d/b/a' },
  { match: '+/+', topic: '$1-$2/$1', given: 'a/b', want: 'a-b/a' },
  { match: 'a/#', topic: 'x/$1', given: 'a', want: 'x' },
  { match: 'a/#', topic: '$1/x', given: 'a', want: '/x' },
  { match: 'a/#', topic: '$1', given: 'a', want: 'a' },
  { match: 'a/+', topic: 'x/$1', given: 'a/', want: 'x/' },
  { match: 'a', topic: '$$x/${cluster}', given: 'a', want: '$x/cloud' },
  { match: '$share/g/a/+', topic: 'b/$1', given: 'a/1', want: 'b/1' },
  { match: '#', topic: 'x/$1', given: 'ü'.repeat(32_767), want: 'ü'.repeat(32_767) },
])
  test(`${match} to ${topic}: ${given.slice(0, 20)}`, () => assert.equal(template(match, topic).there(given), want))

test('a name that no topic may hold does not come into one', () => {
  const rewrite = planRewrite(
    { match: 'a', topic: 's/${node.id}', stripPrefix: '', addPrefix: '' },
    { ...NAMES, 'node.id': 'a+b#' },
  )
  assert.equal(rewrite.there('a'), 's/a_b_')
})

/** Random filters and templates that the schema takes for both directions. */
test('the way back leads where the way there began, and the filter of the other side matches', () => {
  const random = seededRandom(11)
  const of = <T>(all: readonly T[]): T => all[Math.floor(random.float() * all.length)]!
  let tried = 0
  for (let round = 0; round < 3_000; round++) {
    const levels = Array.from({ length: 1 + Math.floor(random.float() * 4) }, () => of(['a', 'b', '+', '']))
    if (random.float() < 0.5) levels.push('#')
    const match = levels.join('/')
    const count = levels.filter((level) => level === '+' || level === '#').length
    const order = Array.from({ length: count }, (_, i) => i + 1).sort(() => random.float() - 0.5)
    const topic = [
      ...order.map((n) => of([`$${n}`, `x/$${n}`, `${'${node.id}'}/$${n}`])),
      ...(random.float() < 0.3 ? ['end'] : []),
    ].join('/')
    if (match === '' || findTemplateProblem(topic, { match, isTwoWay: true }) !== undefined) continue
    const rewrite = template(match, topic)
    const name = levels
      .flatMap((level) =>
        level === '+' ? [of(['1', '', 'ü'])] : level === '#' ? of([[], ['r'], ['r', 's']]) : [level],
      )
      .join('/')
    if (name === '') continue
    const there = rewrite.there(name)
    if (there === name) continue
    tried++
    assert.ok(matches(rewrite.filterThere, there), `${match} ${topic} ${name} ${there} ${rewrite.filterThere}`)
    assert.equal(rewrite.back(there), name, `${match} ${topic} ${there}`)
  }
  assert.ok(tried > 200, `only ${tried}`)
})
