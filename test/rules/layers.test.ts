import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { fenceViolations, layerViolations, type Import } from './layers.ts'

const SHIPPED = ['agent', 'control-sync', 'protocols', 'hub', 'tools', 'demo', 'model', 'proto', 'core']
const files = SHIPPED.flatMap((dir) => fs.globSync(`${dir}/**/*.ts`))

/** Import and export-from statements, dynamic imports, and the lazy createRequire form. */
function specifiersOf(file: string): string[] {
  const text = fs.readFileSync(file, 'utf8')
  return [...text.matchAll(/(?:from\s+|import\s*\(\s*|^import\s+|import\.meta\.url\)\()'([^']+)'/gm)].map((m) => m[1]!)
}
const packageOf = (spec: string): string => (spec.startsWith('@') ? spec.split('/').slice(0, 2).join('/') : spec.startsWith('node:') ? spec : spec.split('/')[0]!)
const all = files.flatMap((from) => specifiersOf(from).map((spec): Import => [from, spec]))
const ours = all.filter(([, s]) => s.startsWith('.')).map(([from, s]): Import => [from, path.normalize(path.join(path.dirname(from), s))])
const others = all.filter(([, s]) => !s.startsWith('.')).map(([from, s]): Import => [from, packageOf(s)])

test('the layer rule catches a forbidden edge', () => {
  assert.equal(layerViolations([['protocols/router.ts', 'control-sync/sync.ts']]).length, 1)
  assert.equal(layerViolations([['core/scope.ts', 'agent/main.ts']]).length, 1)
  assert.equal(layerViolations([['elsewhere/x.ts', 'core/scope.ts']]).length, 1)
  assert.deepEqual(layerViolations([['agent/agent.ts', 'protocols/downstream/serve.ts'], ['protocols/downstream/serve.ts', 'core/scope.ts']]), [])
})

test('the fence rule catches a package outside its place and one that nobody listed', () => {
  assert.equal(fenceViolations([['protocols/downstream/serve.ts', '@grpc/grpc-js']]).length, 1)
  assert.equal(fenceViolations([['protocols/downstream/serve.ts', 'left-pad']]).length, 1)
  assert.deepEqual(fenceViolations([['core/log.ts', 'pino'], ['core/log.ts', 'node:fs']]), [])
})

test('layers: no file imports upward or across', () => assert.deepEqual(layerViolations(ours), []))
test('fences: packages are imported only where they belong', () => assert.deepEqual(fenceViolations(others), []))
