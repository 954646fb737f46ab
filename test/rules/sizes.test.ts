import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'

const MAX_LINES = 450
const P90_LINES = 300
const MEDIAN_LINES = 150

const sizes = ['agent', 'control-sync', 'protocols', 'hub', 'model', 'proto', 'core', 'tools', 'demo']
  .flatMap((dir) => fs.globSync(`${dir}/**/*.ts`))
  .filter((f) => !f.startsWith('proto/gen/'))
  .map((f) => ({ f, lines: fs.readFileSync(f, 'utf8').split('\n').length - 1 }))
  .sort((a, b) => a.lines - b.lines)
const at = (share: number): number => sizes[Math.floor(share * (sizes.length - 1))]!.lines

test(`no source file is longer than ${MAX_LINES} lines`, () => {
  assert.deepEqual(
    sizes.filter((s) => s.lines > MAX_LINES).map((s) => `${s.f}: ${s.lines}`),
    [],
  )
})
test(`nine of ten source files have at most ${P90_LINES} lines, half of them at most ${MEDIAN_LINES}`, () => {
  assert.ok(at(0.9) <= P90_LINES, `p90 is ${at(0.9)}`)
  assert.ok(at(0.5) <= MEDIAN_LINES, `median is ${at(0.5)}`)
})
