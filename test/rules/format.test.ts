import { test } from 'node:test'
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'

test('every source and test is formatted (npm run format does it)', () => {
  const { status, stdout, stderr } = spawnSync('node_modules/.bin/oxfmt', ['--check', '.'], { encoding: 'utf8' })
  assert.equal(status, 0, stdout + stderr)
})
