/** The tests of the hub's registry on Debian's PostgreSQL; `npm test` leaves that half out where it is not installed. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { findDebianProgram } from '../../../tools/debian.ts'

const FILES = [
  'cli/store',
  'open-state',
  'registry/enrollments',
  'registry/names',
  'registry/postgres/postgres',
  'registry/registry',
  'registry/replicas',
  'registry/reports',
  'registry/sql',
].map((name) => path.resolve(import.meta.dirname, `../../hub/${name}.test.ts`))

test('the registry on PostgreSQL', () => {
  findDebianProgram('postgres')
  const { status, stdout } = spawnSync(process.execPath, ['--test', '--test-reporter=tap', ...FILES], {
    encoding: 'utf8',
    env: { ...process.env, NODE_TEST_CONTEXT: undefined },
  })
  assert.equal(status, 0, stdout)
  assert.match(stdout, /^# skipped 0$/m, stdout)
  assert.match(stdout, /\(PostgreSQL\)/)
})
