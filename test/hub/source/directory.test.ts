import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import pino from 'pino'
import { MeshError } from '../../../core/errors.ts'
import { Metrics } from '../../../core/metrics.ts'
import { DirectorySource } from '../../../hub/source/directory.ts'
import { CLUSTER, ROUTE, type ResourceSet } from '../../../hub/source/resources.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

const cluster = (name: string, timeout = '2s'): string =>
  `resources:\n- "@type": ${CLUSTER}\n  name: ${name}\n  type: EDS\n  connect_timeout: ${timeout}\n  eds_cluster_config: {service_name: "${name}-endpoints", eds_config: {ads: {}}}\n`

function made(t: { after(fn: () => void): void }) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hub-directory-'))
  const lines: Record<string, unknown>[] = []
  const [clock, metrics] = [new SimClock(), new Metrics()]
  const log = pino(
    { level: 'debug' },
    {
      write: (line: string) => {
        lines.push(JSON.parse(line) as Record<string, unknown>)
      },
    },
  )
  const write = (name: string, text: string): void => {
    fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true })
    fs.writeFileSync(path.join(folder, name), text)
  }
  const open = async (): Promise<DirectorySource> => {
    const source = await DirectorySource.open({ folder, clock, log, metrics })
    t.after(() => source[Symbol.dispose]())
    return source
  }
  t.after(() => fs.rmSync(folder, { recursive: true }))
  return {
    folder,
    clock,
    metrics,
    write,
    open,
    problems: () => lines.filter((l) => l['evt'] === 'hub.resource-refused').map((l) => String(l['problem'])),
  }
}
const names = (set: ResourceSet): string[] => [...(set.types.get(CLUSTER)?.keys() ?? [])].sort()

test('a node gets the shared files and its own, another node not', async (t) => {
  const { write, open } = made(t)
  write('shared.yaml', cluster('everybody'))
  write('edge/own.yaml', cluster('mine'))
  const source = await open()
  assert.deepEqual(names(source.watch('edge', () => {}).current()), ['everybody', 'mine'])
  assert.deepEqual(names(source.watch('other', () => {}).current()), ['everybody'])
  assert.equal(
    source
      .watch('edge', () => {})
      .current()
      .types.get(ROUTE),
    undefined,
  )
})

test('a changed file is told to every stream of the node; equal content keeps its version', async (t) => {
  const { write, open, clock } = made(t)
  write('edge/a.yaml', cluster('a'))
  write('edge/b.yaml', cluster('b'))
  const source = await open()
  const seen: string[][] = []
  using first = source.watch('edge', (set) => seen.push(names(set)))
  const second = source.watch('edge', (set) => seen.push(names(set)))
  const before = first.current().types.get(CLUSTER)!
  write('edge/b.yaml', cluster('b2'))
  await clock.advance(6_000)
  assert.deepEqual(seen, [
    ['a', 'b2'],
    ['a', 'b2'],
  ])
  assert.equal(first.current().types.get(CLUSTER)!.get('a')!.version, before.get('a')!.version)
  assert.equal(before.get('a')!.endpoints, 'a-endpoints')
  second[Symbol.dispose]()
  write('edge/b.yaml', cluster('b3'))
  await clock.advance(6_000)
  assert.equal(seen.length, 3)
})

test('a broken file is told once with file, resource and field, serves its last good content also to a node that returns, and removes nothing', async (t) => {
  const { write, open, clock, problems, metrics } = made(t)
  write('edge/a.yaml', cluster('a'))
  write('shared.yaml', cluster('everybody'))
  const source = await open()
  source.watch('edge', () => {})[Symbol.dispose]()
  source.watch('other', () => {})
  write('shared.yaml', cluster('everybody', 'soon'))
  // What a mistake is, a thread finds out.
  for (let i = 0; i < 1_000 && problems().length === 0; i++) {
    await clock.advance(i < 20 ? 500 : 1)
    await new Promise((resolve) => {
      setTimeout(resolve, 5)
    })
  }
  assert.equal(problems().length, 1, 'three watchers read the shared file, one line says so')
  assert.match(problems()[0]!, /shared\.yaml.*everybody.*connect_timeout/)
  assert.equal(metrics.total('mesh_hub_resource_problems_total'), 1)
  const { current } = source.watch('edge', () => {})
  assert.deepEqual(names(current()), ['a', 'everybody'])
  assert.equal(current().removals, 'later')
  write('shared.yaml', cluster('everybody'))
  await clock.advance(6_000)
  assert.equal(current().removals, 'now')
})

test("mistakes of a node's folder show at the start, before the node connects", async (t) => {
  const { write, open, problems } = made(t)
  write('edge/a.yaml', cluster('a', 'soon'))
  await open()
  assert.match(problems()[0] ?? '', /edge\/a\.yaml.*connect_timeout/)
})

test('no folder, and a name that leads out of it', async (t) => {
  const { open, folder, clock, metrics } = made(t)
  const invalid = (err: unknown): boolean => err instanceof MeshError && err.code === 'MESH_CONFIG_INVALID'
  await assert.rejects(
    DirectorySource.open({ folder: path.join(folder, 'none'), clock, log: pino({ level: 'silent' }), metrics }),
    invalid,
  )
  const source = await open()
  assert.throws(() => source.watch('../x', () => {}), invalid)
})

test('shared files are read once, whoever comes: a thousand nodes are sent the same set', async (t) => {
  const { write, open } = made(t)
  write('shared.yaml', cluster('everybody'))
  const source = await open()
  const readFile = t.mock.method(fs, 'readFileSync')
  const sets = new Set(Array.from({ length: 1_000 }, (_, i) => source.watch(`node-${i}`, () => {}).current()))
  assert.deepEqual([sets.size, readFile.mock.callCount()], [1, 0])
})

test('a node that is gone and has no folder is forgotten; a folder that is made for one that is connected is found', async (t) => {
  const { write, open, clock, metrics } = made(t)
  const source = await open()
  const seen: string[][] = []
  const watch = source.watch('edge', (set) => seen.push(names(set)))
  assert.equal(metrics.total('mesh_hub_nodes_known'), 1)
  write('edge/own.yaml', cluster('mine'))
  await clock.advance(6_000)
  assert.deepEqual(seen, [['mine']])
  watch[Symbol.dispose]()
  source.watch('other', () => {})[Symbol.dispose]()
  assert.equal(metrics.total('mesh_hub_nodes_known'), 1, 'the one with a folder')
})

test('a name that leads out of the folder is refused', async (t) => {
  const { open } = made(t)
  const source = await open()
  for (const name of ['..', '.', '', 'a/b', '.hidden', 'x'.repeat(300)])
    assert.throws(() => source.watch(name, () => {}), /cannot be the name of a node's folder/)
})
