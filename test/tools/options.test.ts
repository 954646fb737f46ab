import { test } from 'node:test'
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import path from 'node:path'

const root = path.resolve(import.meta.dirname, '../..')

for (const file of [
  'demo/main.ts',
  'test/attack/main.ts',
  'test/bench/main.ts',
  'test/conformance/envoy/generated/main.ts',
  'test/conformance/istiod/tasks/main.ts',
  'test/fuzz/live/main.ts',
  'tools/build/build-oci.ts',
  'tools/conformance.ts',
  'tools/console.ts',
  'tools/device.ts',
  'tools/faults.ts',
  'tools/istiod.ts',
  'tools/test.ts',
])
  test(`${file} refuses an option that it does not know, before it does anything`, () => {
    const { status, stderr, stdout } = spawnSync(process.execPath, [file, '--no-such-option'], {
      cwd: root,
      encoding: 'utf8',
      timeout: 30_000,
    })
    assert.equal(status, 2, stderr)
    assert.doesNotMatch(stderr, /^\s+at /m, 'a stack is no help')
    assert.match(stderr, /no-such-option/)
    assert.equal(stdout, '')
  })
