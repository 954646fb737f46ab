import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { circles, crowded, fenceViolations, layerViolations, MAX_FILES, type Import } from './checks/layers.ts'

const SHIPPED = ['agent', 'control-sync', 'core', 'demo', 'hub', 'model', 'proto', 'protocols', 'tools']
const GENERATED = /^proto\/gen\//
const all = [...SHIPPED, 'test'].flatMap((dir) => fs.globSync(`${dir}/**/*.{ts,mjs,cjs}`))

/**
 * Import and export-from statements (of types, too), dynamic imports, the lazy createRequire form, and modules named
 * for a worker.
 */
function specifiersOf(file: string): string[] {
  const text = fs.readFileSync(file, 'utf8').replace(/`[^`]*`/g, '``')
  return [...text.matchAll(/(?:from\s+|import\s*\(\s*|^import\s+|import\.meta\.url\)\(|new URL\()'([^']+)'/gm)].map(
    (m) => m[1]!,
  )
}
const packageOf = (spec: string): string =>
  spec.startsWith('@') ? spec.split('/').slice(0, 2).join('/') : spec.startsWith('node:') ? spec : spec.split('/')[0]!
const imports = all.flatMap((from) => specifiersOf(from).map((spec): Import => [from, spec]))
const ours = imports
  .filter(([, s]) => s.startsWith('./') || s.startsWith('../'))
  .map(([from, s]): Import => [from, path.normalize(path.join(path.dirname(from), s))])
  .filter(([, to]) => fs.statSync(to, { throwIfNoEntry: false })?.isFile())
const others = imports
  .filter(([from, s]) => !s.startsWith('.') && !from.startsWith('test/') && from.endsWith('.ts'))
  .map(([from, s]): Import => [from, packageOf(s)])

test('the layer rule catches an import that runs up, one beside, one where less is permitted, and one of no floor', () => {
  assert.match(layerViolations([['core/scope.ts', 'agent/main.ts']])[0]!, /up, from core\/ to agent\//)
  assert.match(layerViolations([['model/tables.ts', 'protocols/router.ts']])[0]!, /up, from model/)
  assert.match(layerViolations([['protocols/router.ts', 'control-sync/sync.ts']])[0]!, /may not import/)
  assert.match(layerViolations([['model/tables.ts', 'proto/registry.ts']])[0]!, /may not import/)
  assert.match(layerViolations([['hub/hub.ts', 'control-sync/sync.ts']])[0]!, /same resource files/)
  assert.match(layerViolations([['protocols/http/codec/framing.ts', 'protocols/http/message.ts']])[0]!, /no connection/)
  assert.match(
    layerViolations([['protocols/router.ts', 'protocols/tls/client.ts']])[0]!,
    /up, from protocols\/ to protocols\/tls\//,
  )
  assert.match(layerViolations([['tools/build/build.ts', 'test/conformance/peers.ts']])[0]!, /no test file/)
  assert.equal(layerViolations([['elsewhere/x.ts', 'core/scope.ts']]).length, 1)
  assert.deepEqual(
    layerViolations([
      ['agent/agent.ts', 'protocols/downstream/serve.ts'],
      ['protocols/downstream/serve.ts', 'core/scope.ts'],
      ['hub/main.ts', 'control-sync/directory/reader.ts'],
      ['demo/site.ts', 'tools/free-ports.ts'],
    ]),
    [],
  )
})

test('the rule about circles finds them, and nothing else', () => {
  assert.deepEqual(
    circles([
      ['a', 'b'],
      ['b', 'c'],
      ['c', 'b'],
      ['a', 'c'],
    ]),
    ['b → c → b'],
  )
  assert.deepEqual(
    circles([
      ['a', 'b'],
      ['a', 'c'],
      ['b', 'd'],
      ['c', 'd'],
    ]),
    [],
  )
})

test('the fence rule catches a package outside its place and one that nobody listed', () => {
  assert.equal(fenceViolations([['protocols/downstream/serve.ts', '@grpc/grpc-js']]).length, 1)
  assert.equal(fenceViolations([['protocols/downstream/serve.ts', 'left-pad']]).length, 1)
  assert.deepEqual(
    fenceViolations([
      ['core/log.ts', 'pino'],
      ['core/log.ts', 'node:fs'],
    ]),
    [],
  )
})

test('floors: no import runs up or across', () => assert.deepEqual(layerViolations(ours), []))
test('no circles, of types neither', () =>
  assert.deepEqual(circles(ours.filter(([from]) => !GENERATED.test(from))), []))
test('fences: packages are imported only where they belong', () => assert.deepEqual(fenceViolations(others), []))
test(`no folder has more than ${MAX_FILES} files`, () => {
  assert.deepEqual(crowded(Array.from({ length: MAX_FILES + 1 }, (_, i) => `core/${i}.ts`)), [
    `core: ${MAX_FILES + 1} files`,
  ])
  assert.deepEqual(crowded(all.filter((file) => !GENERATED.test(file))), [])
})

test('every folder has a place in ARCHITECTURE.md', () => {
  const [, block = ''] = /```\n([^]*?)```/.exec(fs.readFileSync('ARCHITECTURE.md', 'utf8')) ?? []
  const sources = all.filter((file) => !GENERATED.test(file) && !file.startsWith('test/'))
  const folders = new Set(sources.flatMap((file) => file.split('/').slice(0, -1)))
  assert.deepEqual(
    [...folders].filter((folder) => !new RegExp(`(?<![\\w-])${folder}/`).test(block)),
    [],
  )
})
