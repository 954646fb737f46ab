import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { Current } from '../../../core/current.ts'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import { EMPTY_TABLES, type Tables } from '../../../model/tables.ts'
import { Applier } from '../../../control-sync/apply.ts'
import { startDirectorySync } from '../../../control-sync/directory/sync.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

const cluster = (name: string, more = ''): string =>
  `- {"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: ${name}${more}}\n`

function rig(t: TestContext, folder = 'resources') {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-directory-sync-'))
  const dir = path.join(home, folder)
  const shared = { clock: new SimClock(), log: silentLog, metrics: new Metrics() }
  const applier = new Applier({
    ...shared,
    node: 'n',
    tables: new Current<Tables>(EMPTY_TABLES),
    saver: undefined,
  })
  const write = (file: string, text: string): void => {
    fs.mkdirSync(dir, { recursive: true })
    fs.writeFileSync(path.join(dir, file), text)
  }
  const start = () => {
    const sync = startDirectorySync({ ...shared, folder: dir, node: undefined, applier })
    t.after(async () => {
      await sync[Symbol.asyncDispose]()
      fs.rmSync(home, { recursive: true })
    })
    return sync
  }
  /** Until it is so; time passes meanwhile. */
  const until = async (isSo: () => boolean): Promise<void> => {
    for (let i = 0; !isSo(); i++) {
      assert.ok(i < 500, 'it does not come to be so')
      await shared.clock.advance(500)
    }
  }
  return {
    dir,
    applier,
    clock: shared.clock,
    write,
    start,
    until,
    names: () => [...applier.snapshot.resources.cluster.keys()],
  }
}

test('a folder is read, in force once it is synced, and each change after it', async (t) => {
  const { write, start, until, names } = rig(t)
  write('a.yaml', cluster('a') + cluster('b'))
  const sync = start()
  await sync.synced
  assert.deepEqual(names(), ['a', 'b'])
  assert.deepEqual(
    [sync.link.mode, sync.link.state, sync.isMissing, sync.problems],
    ['directory', 'watching', false, []],
  )
  assert.notEqual(sync.link.lastContactMs, undefined)
  write('a.yaml', cluster('b') + cluster('c'))
  await until(() => names().includes('c'))
  assert.deepEqual(names(), ['b', 'c'])
})

test('only what differs is applied', async (t) => {
  const { applier, write, start, until } = rig(t)
  write('a.yaml', cluster('a') + cluster('b'))
  const sync = start()
  await sync.synced
  const before = applier.snapshot.resources.cluster
  const apply = t.mock.method(applier, 'apply')
  write('a.yaml', cluster('a') + cluster('b', ', connect_timeout: 3s'))
  await until(() => applier.generation === 2)
  const after = applier.snapshot.resources.cluster
  assert.equal(after.get('a'), before.get('a'))
  assert.notEqual(after.get('b'), before.get('b'))
  assert.deepEqual(
    apply.mock.calls.flatMap(({ arguments: [changes] }) => changes.flatMap((c) => c.put.map((r) => r.name))),
    ['b'],
    'the applier is not asked about the others',
  )
})

test('a folder that is not there is a problem, is waited for, and is read when it comes', async (t) => {
  const { clock, write, start, until, names } = rig(t)
  const sync = start()
  await sync.begun
  assert.deepEqual([sync.isMissing, sync.problems.map((p) => p.code)], [true, ['MESH_CONFIG_INVALID']])
  let isSynced = false
  void sync.synced.then(() => {
    isSynced = true
  })
  await clock.advance(5_000)
  assert.equal(isSynced, false)
  write('a.yaml', cluster('a'))
  await until(() => isSynced)
  assert.deepEqual([names(), sync.isMissing, sync.problems], [['a'], false, []])
})

test('a mistake is a problem with its place, the last good content serves on, and it goes when it is mended', async (t) => {
  const { write, start, until, names } = rig(t)
  write('a.yaml', cluster('a'))
  const sync = start()
  await sync.synced
  write('a.yaml', cluster('a', ', conect_timeout: 1s'))
  await until(() => sync.problems.length > 0)
  assert.match(sync.problems[0]!.message, /a\.yaml.*conect_timeout/)
  assert.deepEqual([sync.problems[0]!.code, names()], ['MESH_CONFIG_REJECTED', ['a']])
  write('a.yaml', cluster('a'))
  await until(() => sync.problems.length === 0)
})

test('disposed before it has begun, it leaves no timer', async (t) => {
  const { clock, write, start } = rig(t)
  write('a.yaml', cluster('a'))
  const sync = start()
  await sync[Symbol.asyncDispose]()
  await sync.begun
  await clock.advance(60_000)
  assert.equal(clock.pendingTimers, 0)
})
