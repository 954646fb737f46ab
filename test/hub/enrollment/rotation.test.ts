import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'node:test'
import fs from 'node:fs'
import { systemDisk } from '../../../core/os/disk.ts'
import { makeRoot, readRoots } from '../../../hub/ca/root-files.ts'
import { listKeyHashes } from '../../../hub/ca/key-hash.ts'
import { rotateRoots, type RotationStep } from '../../../hub/enrollment/rotation.ts'
import { openRegistry, OpenRegistry, type Registry } from '../../../hub/registry/registry.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { testStores } from '../registry/on-stores.ts'

type Finally = { after(fn: () => void): void }
const NOW = Date.UTC(2026, 10, 1)

function makeFolder(t: Finally) {
  const state = temporaryFolder(t)
  const files = { state, folder: `${state}/ca`, disk: systemDisk, trustDomain: 'demo.mesh' }
  makeRoot({ ...files, notBeforeMs: NOW })
  const step = (name: RotationStep, registry: Registry): Promise<string> =>
    registry.exclusively((tx) => rotateRoots(name, { ...files, registry: tx, nowMs: NOW }))
  const own = (): readonly string[] => {
    const { signing, other } = readRoots(files)!
    return listKeyHashes(other ? [signing, other.root] : [signing])
  }
  return { folder: files.folder, step, own }
}

testStores('each step stands in the registry, and hubs that run look at it', async (open, t) => {
  const { step, own } = makeFolder(t)
  await using command = new OpenRegistry(await open())
  await using running = new OpenRegistry(await open())
  for (const name of ['add', 'switch', 'drop'] as const) {
    const before = running.revision
    await step(name, command)
    for (let i = 0; i < 500 && running.revision === before; i++) await sleep(10)
    assert.notEqual(running.revision, before, name)
    assert.deepEqual(await running.authority('ca'), own(), name)
  }
})

test('a hub whose folder is of before starts while its root signs, changes nothing, and starts no more afterwards', async (t) => {
  const { step, own } = makeFolder(t)
  await using registry = openRegistry(':memory:')
  const old = own()
  const start = () => registry.recordAuthority('ca', old, { decides: false })
  await start()
  await step('add', registry)
  await start()
  assert.deepEqual(await registry.authority('ca'), own(), 'what it lacks is not forgotten')
  await step('switch', registry)
  await assert.rejects(start(), { code: 'MESH_CA_DAMAGED', message: /copy the folder ca/ })
})

test('a step is refused at a hub that has not heard of the last one', async (t) => {
  const [a, b] = [makeFolder(t), makeFolder(t)]
  fs.cpSync(a.folder, b.folder, { recursive: true })
  await using registry = openRegistry(':memory:')
  await a.step('add', registry)
  await assert.rejects(b.step('add', registry), { code: 'MESH_CONFIG_INVALID', message: /rotated at another hub/ })
  fs.cpSync(a.folder, b.folder, { recursive: true })
  await b.step('switch', registry)
})
