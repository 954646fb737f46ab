import { test } from 'node:test'
import assert from 'node:assert/strict'
import { readMeshSettings, type MeshSettings } from '../../../agent/config/istio-mesh.ts'
import { readYaml } from '../../../core/yaml.ts'

const read = (text: string): MeshSettings => readMeshSettings(readYaml(text), 'mesh.yaml')
/** Of defaultConfig, whose first setting is in line 2. */
const inConfig = (...lines: string[]): MeshSettings => read(`defaultConfig:\n${lines.map((l) => `  ${l}\n`).join('')}`)
const originsOf = ({ origins }: MeshSettings): unknown => Object.fromEntries([...origins].map(([s, o]) => [s, o.line]))
const problemsOf = ({ problems }: MeshSettings): unknown => problems.map((p) => [p.file, p.line, p.path, p.problem])

test('what has a setting in agent.yaml becomes it, and says from which line', () => {
  const got = inConfig(
    'discoveryAddress: istiod.istio-system.svc:15012',
    'meshId: m1',
    'proxyAdminPort: 15001',
    'terminationDrainDuration: 7.5s',
    'interceptionMode: NONE',
  )
  assert.deepEqual(
    [got.discoveryAddress, got.meshId, got.capture, got.settings],
    ['istiod.istio-system.svc:15012', 'm1', 'explicit', { admin: { port: 15001 }, limits: { drainMs: 7_500 } }],
  )
  assert.deepEqual(originsOf(got), {
    'control.address': 2,
    'node.meshId': 3,
    'admin.port': 4,
    'limits.drainMs': 5,
    capture: 6,
  })
  assert.deepEqual([got.problems, got.ignored], [[], []])
})

test('an empty file, and one without defaultConfig, say nothing', () => {
  for (const text of ['', 'defaultConfig:\n', 'defaultConfig: {}\n']) {
    const { discoveryAddress, meshId, capture, settings, proxyConfig, proxyMetadata, problems } = read(text)
    assert.deepEqual(
      [discoveryAddress, meshId, capture, settings, proxyConfig, proxyMetadata, problems],
      [undefined, undefined, undefined, {}, {}, [], []],
    )
  }
})

test('an empty text is none; what is no text is a mistake', () => {
  assert.equal(inConfig('discoveryAddress: ""').discoveryAddress, undefined)
  const got = inConfig('meshId: 5', 'discoveryAddress: [a]')
  assert.deepEqual([got.meshId, got.discoveryAddress], [undefined, undefined])
  assert.deepEqual(problemsOf(got), [
    ['mesh.yaml', 3, 'defaultConfig.discoveryAddress', 'must be a text'],
    ['mesh.yaml', 2, 'defaultConfig.meshId', 'must be a text'],
  ])
})

test('what has no setting is listed with its line; istiod gets all of defaultConfig', () => {
  const got = read('trustDomain: a\ndefaultConfig:\n  concurrency: 2\n  tracing: {sampling: 1}\n')
  assert.deepEqual(got.ignored, [
    'mesh.yaml:1: trustDomain',
    'mesh.yaml:3: defaultConfig.concurrency',
    'mesh.yaml:4: defaultConfig.tracing',
  ])
  assert.deepEqual(got.proxyConfig, { concurrency: 2, tracing: { sampling: 1 } })
  assert.deepEqual(got.settings, {})
})

for (const [mode, why] of [
  ['TPROXY', / \(docs\/istio\.md: capture: transparent in agent\.yaml\)$/],
  ['REDIRECT', / \(connections that iptables redirects are not served\)$/],
] as const)
  test(`interceptionMode ${mode} is for sidecars: it has to be asked for`, () => {
    const got = inConfig(`interceptionMode: ${mode}`)
    assert.equal(got.capture, undefined)
    assert.equal(got.origins.size, 0)
    assert.match(String(got.ignored), why)
  })

for (const [said, expected] of [
  ['0.5s', 500],
  ['0s', 1],
  ['0.0001s', 1],
  ['5m', '5m'],
  ['"-1s"', '-1s'],
  ['5', 5],
] as const)
  test(`a drain of ${said} is ${expected} ms, or left for the schema to refuse`, () => {
    assert.deepEqual(inConfig(`terminationDrainDuration: ${said}`).settings, { limits: { drainMs: expected } })
  })

test('a probe has the form of agent.yaml; what a newer Istio adds to it is left out', () => {
  const got = inConfig(
    'readinessProbe:',
    '  periodSeconds: 5',
    '  newer: 1',
    '  httpGet:',
    '    path: /healthz',
    '    port: 80',
    '    newest: 2',
  )
  assert.deepEqual(got.settings, { readinessProbe: { periodSeconds: 5, httpGet: { path: '/healthz', port: 80 } } })
  assert.deepEqual(got.ignored, [
    'mesh.yaml:4: defaultConfig.readinessProbe.newer',
    'mesh.yaml:8: defaultConfig.readinessProbe.httpGet.newest',
  ])
  assert.deepEqual(originsOf(got), {
    readinessProbe: 2,
    'readinessProbe.periodSeconds': 3,
    'readinessProbe.httpGet': 5,
    'readinessProbe.httpGet.path': 6,
    'readinessProbe.httpGet.port': 7,
  })
})

test('names within a way to probe are not taken for ways to probe', () => {
  const got = inConfig('readinessProbe:', '  tcpSocket: {port: 1, exec: 2}', '  exec: {command: [a]}')
  assert.deepEqual(got.settings, { readinessProbe: { tcpSocket: { port: 1 }, exec: { command: ['a'] } } })
})

test('proxyMetadata are variables, each with its line and as a text', () => {
  const { proxyMetadata } = inConfig('proxyMetadata:', '  A: x', '  B: 5', '  C: true')
  assert.deepEqual(proxyMetadata, [
    { key: 'A', value: 'x', line: 3 },
    { key: 'B', value: '5', line: 4 },
    { key: 'C', value: 'true', line: 5 },
  ])
})

test('what should hold settings and holds something else is a mistake at its line', () => {
  assert.deepEqual(problemsOf(read('[a]\n')), [['mesh.yaml', 1, '', 'must hold named settings']])
  assert.deepEqual(problemsOf(read('\ndefaultConfig: x\n')), [
    ['mesh.yaml', 2, 'defaultConfig', 'must hold named settings'],
  ])
  assert.deepEqual(problemsOf(inConfig('proxyMetadata: [a]', 'readinessProbe: {exec: x}')), [
    ['mesh.yaml', 3, 'defaultConfig.readinessProbe.exec', 'must hold named settings'],
    ['mesh.yaml', 2, 'defaultConfig.proxyMetadata', 'must hold named settings'],
  ])
})

test('a text that is no YAML is one mistake of this file', () => {
  const { problems } = read('defaultConfig: [\n')
  assert.equal(problems[0]?.file, 'mesh.yaml')
})
