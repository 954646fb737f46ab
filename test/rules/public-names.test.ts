/**
 * What somebody outside may rest on does not change unseen: commands, settings, metrics, error codes, paths, exit codes
 * and environment variables are those of test/golden/public-names.txt. A change of that file needs a line in CHANGELOG.md.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { publicNames } from './checks/public-names.ts'

const names = await publicNames()

test('the public names are those of test/golden/public-names.txt (npm run docs writes it)', () => {
  const recorded = fs.readFileSync('test/golden/public-names.txt', 'utf8').split('\n')
  const now = names.split('\n')
  assert.deepEqual(
    [
      ...recorded.filter((line) => !now.includes(line)).map((line) => `gone: ${line}`),
      ...now.filter((line) => !recorded.includes(line)).map((line) => `new: ${line}`),
    ],
    [],
  )
  assert.equal(now.join('\n'), recorded.join('\n'))
})

test('each kind of name is found', () => {
  for (const [title, least] of [
    ['commands', 60],
    ['settings of agent.yaml', 150],
    ['settings of hub.yaml', 25],
    ['metrics', 80],
    ['error codes', 80],
    ['paths of the admin ports', 14],
    ['exit codes', 2],
    ['environment variables', 10],
  ] as const) {
    const section = names.split(/^# /m).find((part) => part.startsWith(title))
    assert.ok(section!.trim().split('\n').length > least, `${title}: ${section}`)
  }
})
