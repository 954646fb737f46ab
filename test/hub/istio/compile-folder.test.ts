import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { compileFolder, FolderCompiler, formatProblem, type IstioNode } from '../../../hub/istio/compile-folder.ts'
import { readIstioNode } from '../../../hub/istio/node.ts'
import { packConfig, unpackConfig } from '../../../hub/istio/stored.ts'
import { readConfigs } from '../../../hub/istio/read/read-configs.ts'
import { BILLS, object, ORDERS } from './cases/case.ts'
import { CASES } from './cases/all.ts'
import { compileYaml } from './compare.ts'

const node = (i: number, namespace = 'edge', labels: Readonly<Record<string, string>> = { app: 'edge' }): IstioNode =>
  readIstioNode(
    {
      id: `sidecar~10.1.${i >> 8}.${i & 255}~edge-${i}.${namespace}~${namespace}.svc.cluster.local`,
      metadata: { INTERCEPTION_MODE: 'NONE', LABELS: { ...labels, device: `edge-${i}` } },
    },
    namespace,
  )
const denies = (namespace: string): string =>
  object('AuthorizationPolicy', namespace, 'deny', 'action: DENY\nrules: [{to: [{operation: {paths: [/admin]}}]}]')
const compiledOf = (compiler: FolderCompiler, ...texts: string[]) => {
  const made = compiler.take(texts.map((text, i) => ({ name: `${i}.yaml`, text })))
  assert.ok(made.ok, made.ok ? '' : made.problems.map(formatProblem).join('\n'))
  return made.compile
}

await suite('A folder of Istio YAML is compiled for nodes when they ask', async () => {
  await test('10,000 devices of one set of labels share one compile', () => {
    const compiler = new FolderCompiler()
    const compile = compiledOf(compiler, ORDERS, BILLS)
    const first = compile(node(0))
    for (let i = 1; i < 10_000; i++) assert.equal(compile(node(i)), first)
    assert.equal(compiler.compiles, 1)
  })

  await test('labels that something selects by tell nodes apart', () => {
    const compiler = new FolderCompiler()
    const chosen = object(
      'Sidecar',
      'edge',
      'one',
      'workloadSelector: {labels: {device: edge-1}}\negress: [{hosts: ["~/*"]}]',
    )
    const compile = compiledOf(compiler, ORDERS, chosen)
    assert.notEqual(compile(node(1)).length, compile(node(2)).length)
    assert.equal(compile(node(2)).length, compile(node(3)).length)
  })

  await test('a changed file is read again, and compiled for those whom it concerns', () => {
    const compiler = new FolderCompiler()
    const before = compiledOf(compiler, ORDERS, BILLS, denies('edge'), denies('other'))
    const [edge, other] = [before(node(1)), before(node(1, 'other'))]
    assert.deepEqual([compiler.reads, compiler.compiles], [4, 2])
    const changed = denies('other').replace('/admin', '/secret')
    const after = compiledOf(compiler, ORDERS, BILLS, denies('edge'), changed)
    assert.equal(after(node(1)), edge)
    assert.notEqual(after(node(1, 'other')), other)
    assert.deepEqual([compiler.reads, compiler.compiles], [5, 3])
  })
})

await suite('A folder of Istio YAML', async () => {
  await test('mistakes of all files come together, in their order, and nothing is compiled', () => {
    const made = compileFolder([
      { name: 'b.yaml', text: ORDERS },
      { name: 'c.yaml', text: ORDERS },
      { name: 'a.yaml', text: BILLS.replace('hosts', 'host') },
    ])
    assert.ok(!made.ok)
    const told = made.problems.map(formatProblem)
    assert.match(
      told.find((p) => p.startsWith('a.yaml:6:'))!,
      /spec\.host: is no field/,
    )
    assert.match(
      told.find((p) => p.startsWith('c.yaml:'))!,
      /stands in b\.yaml line 2 already/,
    )
    assert.deepEqual([...told].sort(), told)
  })

  await test('a resource that was stored is the one that was read', () => {
    const { configs } = readConfigs({ name: 'a.yaml', text: ORDERS })
    const value = packConfig(configs[0]!)
    const { file: _, place: __, ...content } = configs[0]!
    const { file: ___, place: ____, ...back } = unpackConfig(value)
    assert.deepEqual(back, JSON.parse(JSON.stringify(content)))
    assert.equal(unpackConfig(value), unpackConfig(value))
  })

  await test('every case is compiled the same twice', () => {
    for (const { yaml, node: settings } of CASES.slice(0, 30))
      assert.deepEqual(compileYaml(yaml, settings), compileYaml(yaml, settings))
  })
})
