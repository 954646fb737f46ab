/** What no document can be made of is told with its place, and takes nothing else with it. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { readDocuments } from '../../../../hub/istio/read/documents.ts'

for (const { name, text, want } of [
  {
    name: 'a tag of a language',
    text: 'a: 1\n---\nb:\n  c: !!js/function "x"\n',
    want: [4, 6, 'Unresolved tag: tag:yaml.org,2002:js/function'],
  },
  { name: 'a tag of nobody', text: 'a: 1\n---\n- !secret x\n', want: [3, 3, 'Unresolved tag: !secret'] },
  {
    name: 'lists without end',
    text: `a: 1\n---\nb: ${'['.repeat(20_000)}${']'.repeat(20_000)}\n`,
    want: [3, undefined, 'it is nested more deeply than can be read'],
  },
] as const)
  test(`a document is refused with its place, and the one before it is read: ${name}`, () => {
    const { documents, problems } = readDocuments(text)
    assert.deepEqual(
      documents.map(({ plain }) => plain),
      [{ a: 1 }],
    )
    const [problem] = problems
    assert.deepEqual([problem?.line, want[1] && problem?.column, problem?.problem], want)
  })
test('tags that YAML has itself are taken', () => {
  const { documents, problems } = readDocuments('a: !!str 5\nb: !!int "7"\nc: 2020-01-01\n')
  assert.deepEqual([documents[0]?.plain, problems], [{ a: '5', b: 7, c: '2020-01-01' }, []])
})
