import { test } from 'node:test'
import assert from 'node:assert/strict'
import { parseTemplate, findTemplateProblem } from '../../../model/mqtt/topic-template.ts'

test('text, variables, captures and dollars', () => {
  assert.deepEqual(parseTemplate('a/${node.id}/$1$$x${cluster}'), [
    { kind: 'text', text: 'a/' },
    { kind: 'variable', name: 'node.id' },
    { kind: 'text', text: '/' },
    { kind: 'capture', number: 1 },
    { kind: 'text', text: '$x' },
    { kind: 'variable', name: 'cluster' },
  ])
})

for (const [match, topic, direction, says] of [
  ['a/+', 'x/$2', 'up', /uses \$2, but `match` has 1 only/],
  ['a', 'x/$1', 'down', /has no wildcard/],
  ['a', '', 'up', /is empty: leave it out/],
  ['a/#', 'x/#', 'up', /may: what a wildcard of `match` stood for is \$1/],
  ['a/+', 'x/+', 'up', /may: what a wildcard/],
  ['a', 'x\0', 'up', /U\+0000/],
  ['a', 'x/${host}', 'up', /variable \$\{host\}, which is not known: there are \$\{node\.id\}/],
  ['a', 'x/${node.id', 'up', /`\$` that begins nothing/],
  ['a', 'x/$', 'up', /`\$` that begins nothing/],
  ['a', '$SYS/x', 'up', /a dollar is written \$\$/],
  ['a/+', 'x/$0', 'up', /begins nothing/],
  ['+/+', 'x/$1', 'both', /must have \$2 exactly once with direction `both`/],
  ['+', '$1/$1', 'both', /must have \$1 exactly once/],
  ['+', 'x$1', 'both', /alone between slashes/],
  ['+/+', '$1${node.id}/$2', 'both', /alone between slashes/],
  ['a/#', '$1/x', 'both', /must end with \$1/],
] as const)
  test(`${topic} of ${match} (${direction}) is refused, with the remedy`, () =>
    assert.match(findTemplateProblem(topic, { match, isTwoWay: direction === 'both' }) ?? 'taken', says))
for (const [match, topic, isTwoWay] of [
  ['a/+/#', 'x/$2/$1', false],
  ['a/+/#', 'x/$1/$2', true],
  ['a', 'sites/${node.id}', true],
  ['+', '$1x$1', false],
  ['$share/g/+', '$1', false],
] as const)
  test(`${topic} of ${match} is taken`, () => assert.equal(findTemplateProblem(topic, { match, isTwoWay }), undefined))
