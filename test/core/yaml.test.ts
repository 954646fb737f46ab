import { test } from 'node:test'
import assert from 'node:assert/strict'
import * as z from 'zod'
import { toConfigError, loadYaml, readYaml, type Layer } from '../../core/yaml.ts'

const schema = z.strictObject({
  name: z.string('must be a text').default('n'),
  limits: z
    .strictObject({ most: z.number().max(9, 'Must be at most 9').default(1), least: z.number().default(0) })
    .prefault({}),
  list: z.array(z.strictObject({ port: z.number() })).default([]),
})
type Config = z.infer<typeof schema>
const load = (text: string, layers?: Parameters<typeof loadYaml<Config>>[3]): ReturnType<typeof loadYaml<Config>> =>
  loadYaml<Config>(schema, text, 'see the docs', layers)
const config = (text: string, layers?: Parameters<typeof load>[1]): Config => {
  const loaded = load(text, layers)
  return loaded.ok ? loaded.config : assert.fail(JSON.stringify(loaded.problems))
}
const problems = (text: string, layers?: Parameters<typeof load>[1]): unknown[] => {
  const loaded = load(text, layers)
  return loaded.ok ? [] : loaded.problems.map(({ line, path, problem, file }) => [file ?? '', line, path, problem])
}
const layer = (settings: object, origins: Record<string, number>, file: string): Layer => ({
  settings,
  originOf: (path) => {
    const line = origins[path.map(String).join('.')]
    return line === undefined ? undefined : { file, line }
  },
})

test('what is left out has its default, and nothing in it can be changed', () => {
  const made = config('list: [{port: 1}]\n')
  assert.deepEqual(made, { name: 'n', limits: { most: 1, least: 0 }, list: [{ port: 1 }] })
  assert.ok([made, made.limits, made.list, made.list[0]].every((part) => Object.isFrozen(part)))
})

test('an empty text, and one of comments, is no setting at all', () => {
  assert.deepEqual([config('').name, config('# nothing\n').name, config('null').name], ['n', 'n', 'n'])
})

test('every mistake is told with its line and its place, in the order of the file', () => {
  assert.deepEqual(problems('limits:\n  least: 1\n  most: 10\nlist:\n- port: 1\n- port: x\nname: 5\n'), [
    ['', 3, 'limits.most', 'must be at most 9'],
    ['', 6, 'list[1].port', 'invalid input: expected number, received string'],
    ['', 7, 'name', 'must be a text'],
  ])
})

test('what is no setting says where to look; what is missing is told at what it is missing from', () => {
  assert.deepEqual(problems('\nlimits:\n  more: 1\nother: 2\n'), [
    ['', 3, 'limits.more', 'is not a setting (see the docs)'],
    ['', 4, 'other', 'is not a setting (see the docs)'],
  ])
  assert.deepEqual(problems('name: a\nlist:\n- {}\n'), [
    ['', 3, 'list[0].port', 'invalid input: expected number, received undefined'],
  ])
})

test('a text that is no YAML is told by its line, and not checked any further', () => {
  assert.deepEqual(
    problems('name: a\nname: b\nother: 1\n').map((p) => (p as unknown[])[1]),
    [2],
  )
  const [[, line, path, problem]] = problems('name: [a\n') as [[string, number, string, string]]
  assert.deepEqual([line, path], [2, ''])
  assert.doesNotMatch(problem, /\n|at line/)
})

test('aliases that would fill the memory are refused', () => {
  const bomb = Array.from({ length: 12 }, (_, i) => `b${i}: &b${i} [${i ? `*b${i - 1}, *b${i - 1}` : 'x, x'}]`)
  const { plain, problems: found } = readYaml(`${bomb.join('\n')}\n`)
  assert.deepEqual(plain, {})
  assert.match(found[0]!.problem, /^excessive alias count/)
})

test('the line of a setting is that of its key, of an entry that of its start', () => {
  const { lineOf } = readYaml('a:\n  b: 1\n\n  c:\n  - x\n  - y\n')
  assert.deepEqual([['a'], ['a', 'b'], ['a', 'c'], ['a', 'c', 1], ['a', 'd'], ['z', 'b']].map(lineOf), [
    1,
    2,
    4,
    6,
    undefined,
    undefined,
  ])
})

test('a layer beneath is overridden setting by setting, one above overrides; lists are replaced', () => {
  const layers = {
    beneath: layer({ name: 'beneath', limits: { most: 2, least: 2 }, list: [{ port: 2 }] }, {}, 'b'),
    above: layer({ limits: { least: 4 } }, {}, 'a'),
  }
  assert.deepEqual(config('limits: {most: 3}\nlist: []\n', layers), {
    name: 'beneath',
    limits: { most: 3, least: 4 },
    list: [],
  })
})

test('a mistake is told at the place that said so: above, the file, beneath', () => {
  const layers = {
    beneath: layer({ name: 1, limits: { least: 'x' } }, { name: 7, 'limits.least': 8 }, 'beneath.env'),
    above: layer({ limits: { most: 99 } }, { 'limits.most': 0 }, 'environment'),
  }
  assert.deepEqual(problems('list:\n- port: y\n', layers), [
    ['environment', 0, 'limits.most', 'must be at most 9'],
    ['', 2, 'list[0].port', 'invalid input: expected number, received string'],
    ['beneath.env', 7, 'name', 'must be a text'],
    ['beneath.env', 8, 'limits.least', 'invalid input: expected number, received string'],
  ])
})

test('one error names every mistake with file and line, and an environment without lines', () => {
  const { code, message } = toConfigError('agent.yaml', [
    { line: 3, path: 'a.b', problem: 'is wrong' },
    { line: 0, path: 'VARIABLE', problem: 'is no JSON', file: 'environment' },
    { line: 1, path: '', problem: 'is empty' },
  ])
  assert.equal(code, 'MESH_CONFIG_INVALID')
  assert.equal(
    message,
    '3 mistakes in the configuration:\n  agent.yaml:3: a.b: is wrong\n  environment: VARIABLE: is no JSON\n  agent.yaml:1: is empty',
  )
  assert.match(toConfigError('f', [{ line: 1, path: 'a', problem: 'b' }]).message, /^a mistake in the configuration:\n/)
})

for (const [name, text, problem] of [
  ['a tag of a language', 'a: !!js/function "x"\n', /^Unresolved tag: tag:yaml.org,2002:js\/function/],
  ['a tag of nobody', 'b:\n  - !secret x\n', /^Unresolved tag: !secret/],
  [
    'lists in lists without end',
    `a: ${'['.repeat(20_000)}${']'.repeat(20_000)}\n`,
    /^it is nested more deeply than can be read/,
  ],
  [
    'maps in maps without end',
    `${'{a: '.repeat(20_000)}1${'}'.repeat(20_000)}\n`,
    /^it is nested more deeply than can be read/,
  ],
] as const)
  test(`refused with its place: ${name}`, () => {
    const { problems } = readYaml(text)
    assert.match(problems[0]!.problem, problem)
    assert.ok(problems[0]!.line >= 1)
  })

const lines = (count: number, line: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => line(i)).join('\n')
const firstProblem = (text: string) => readYaml(text).problems[0]

// Compared with all before it, each of so many keys takes a millisecond.
test('a map of very many keys is read, and one that stands twice is found', { timeout: 30_000 }, () => {
  const text = lines(60_000, (i) => `key-${i}: ${i}`)
  assert.equal((readYaml(text).plain as Record<string, number>)['key-59999'], 59_999)
  assert.deepEqual(firstProblem(`${text}\nkey-7: 1`), { line: 60_001, path: '', problem: 'Map keys must be unique' })
})

test('keys are the same as YAML has them', () => {
  for (const [text, line] of [
    ['a: 1\nb: {x: 1, y: 2, x: 3}', 2],
    ['- a: 1\n  a: 2', 2],
    ['a: 1\n"a": 2', 2],
    ['1: a\n1: b', 2],
    ['? {b: 1, b: 2}\n: 1', 1],
    ['a: 1\nb: 2\n"1": 3\n1: 4', undefined],
    ['- {a: 1}\n- {a: 1}', undefined],
  ] as const)
    assert.equal(firstProblem(text)?.line, line, text)
})

test('aliases are resolved as far as that takes no longer than reading the text', () => {
  const plain = `a: &a {x: 1}\n${lines(1_000, (i) => `k${i}: {<<: *a}`)}`
  assert.match(firstProblem(plain)?.problem ?? '', /^excessive alias count/, 'one that stands for very many')
  assert.deepEqual(readYaml(`a: &a {x: 1}\n${lines(90, (i) => `k${i}: *a`)}`).problems, [])
  const many = lines(4_000, (i) => `k${i}: &a${i} x\nl${i}: *a${i}`)
  assert.match(firstProblem(many)!.problem, /^it has too many aliases \(4000\) for its size/)
  const nested = `x: &x []\nb: &b [${'*x, '.repeat(50)}]\n${lines(50, (i) => `y${i}: *b`)}\n${lines(5_000, (i) => `k${i}: 1`)}`
  assert.match(firstProblem(nested)!.problem, /^it has too many aliases \(100\) for its size/)
})
