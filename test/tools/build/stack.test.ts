/** Places of a shipped bundle, led back to the sources. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { SourceMap, type SourceMapPayload } from 'node:module'
import fs from 'node:fs'
import path from 'node:path'
import { assemble } from '../../../tools/build/assemble.ts'
import { bundleProgram, ENTRIES } from '../../../tools/build/bundler.ts'
import { withSources } from '../../../tools/build/stack.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

const FAILING = `import os from 'node:os'
function divideByNothing(): bigint {
  return BigInt(os.EOL.length) / 0n
}
try {
  divideByNothing()
} catch (thrown) {
  console.log((thrown as Error).stack)
}
`

test('a stack of a bundle names the lines of the sources, as it is printed and as a line of the log', async (t) => {
  const folder = temporaryFolder(t)
  const entry = path.join(folder, 'failing.ts')
  fs.writeFileSync(entry, FAILING)
  const { code, map } = await bundleProgram(entry)
  const bundle = path.join(folder, 'meshlet.cjs')
  fs.writeFileSync(
    bundle,
    assemble({
      addon: Buffer.alloc(0),
      version: '1.0.0',
      builtAt: '2026-01-01T00:00:00Z',
      program: code,
      thread: '',
    }),
  )
  const { stdout } = spawnSync(process.execPath, [bundle], { encoding: 'utf8' })
  assert.doesNotMatch(stdout, /divideByNothing|failing\.ts/, 'the bundle is not minified: this test shows nothing')
  const maps = new Map([[ENTRIES.agent as string, new SourceMap(JSON.parse(map) as SourceMapPayload)]])
  const places = /at \S+ \(\S*failing\.ts:3:30\)[^]*at \S+ \(\S*failing\.ts:6:3\)/
  assert.match(withSources(stdout, maps), places)
  const line = JSON.stringify({ err: { stack: stdout } })
  assert.match((JSON.parse(withSources(line, maps)) as { err: { stack: string } }).err.stack, places)
})

test('a place that no map knows stays as it is', () => {
  const line = 'at a (/usr/lib/meshlet/meshlet.cjs#program:1:1) and at b (node:net:1:1)'
  assert.equal(withSources(line, new Map()), line)
})
