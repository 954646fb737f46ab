import { test } from 'node:test'
import assert from 'node:assert/strict'
import { parseEnvFile } from '../../../agent/config/env-file.ts'

const read = (text: string): Record<string, string> => {
  const { entries, problems } = parseEnvFile(text)
  assert.deepEqual(problems, [])
  return Object.fromEntries(entries.map((e) => [e.key, e.value]))
}

for (const { name, text, want } of [
  { name: 'single quotes, as istioctl writes them', text: "A='x y'\nB=''\n", want: { A: 'x y', B: '' } },
  {
    name: 'a quote inside, as istioctl writes it',
    text: "A='the plant'\"'\"'s gate'\n",
    want: { A: "the plant's gate" },
  },
  {
    name: 'bare and double-quoted values, export, comments, Windows line ends',
    text: '# c\r\nexport A=1.5\r\n B="x \\"y\\" \\$" # c\r\nC=\r\n',
    want: { A: '1.5', B: 'x "y" $', C: '' },
  },
  { name: 'a value over several lines', text: "A='x\ny'\nB=1", want: { A: 'x\ny', B: '1' } },
  { name: 'the last assignment counts', text: 'A=1\nA=2\n', want: { A: '2' } },
  { name: 'nothing', text: '', want: {} },
])
  test(`cluster.env: ${name}`, () => assert.deepEqual(read(text), want))

for (const { name, text, want } of [
  {
    name: 'a line that is no assignment',
    text: 'A=1\nunset B\nC=2\n',
    want: [[2, "is no assignment: KEY='value' is expected"]],
  },
  { name: 'something behind the value', text: 'A=1 2\n', want: [[1, 'has something behind the value; quote it']] },
  { name: 'a quote that is not closed', text: "A=1\nB='x\nC=2\n", want: [[2, 'has a quote that is not closed']] },
  {
    name: 'what a shell would expand',
    text: 'A=$HOME\nB="$(id)"\nC=`id`\n',
    want: [1, 2, 3].map((line) => [line, 'would have to be expanded by a shell, or has a quote that is not closed']),
  },
  { name: 'what a shell would act upon', text: 'A=1;reboot\n', want: [[1, 'has a ; that must be quoted']] },
])
  test(`cluster.env is refused: ${name}`, () =>
    assert.deepEqual(
      parseEnvFile(text).problems.map((p) => [p.line, p.problem]),
      want,
    ))

test('the line is that of the assignment, also behind a value of several lines', () => {
  assert.deepEqual(
    parseEnvFile("A='1\n2\n3'\n\nB=x\n").entries.map((e) => [e.key, e.line]),
    [
      ['A', 1],
      ['B', 5],
    ],
  )
})
