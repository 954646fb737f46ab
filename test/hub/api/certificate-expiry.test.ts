import { test } from 'node:test'
import assert from 'node:assert/strict'
import { pino } from 'pino'
import { MeshError } from '../../../core/errors.ts'
import { CertificateWatcher, type WatchedStream } from '../../../hub/api/certificate-expiry.ts'
import type { OpenRegistry } from '../../../hub/registry/registry.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

function made() {
  const clock = new SimClock()
  const lines: string[] = []
  const registry = { revision: '1' as string | Error }
  const never = (err: MeshError): void => assert.fail(err)
  const read = {
    get revision(): string {
      if (registry.revision instanceof Error) throw registry.revision
      return registry.revision
    },
  } as OpenRegistry
  const watcher = new CertificateWatcher({
    registry: read,
    clock,
    log: pino(
      {},
      {
        write: (line: string) => {
          lines.push((JSON.parse(line) as { evt: string }).evt)
        },
      },
    ),
  })
  const enter = (check: WatchedStream['check'], end = never, since = '1') => watcher.enter({ check, end }, since)
  return { clock, lines, registry, watcher, enter }
}

test('twice a second each stream is asked whether its credential has ended, and once for all after a change of the registry', async () => {
  const { clock, registry, watcher, enter } = made()
  using _watcher = watcher
  const asked: string[] = []
  const stream = enter(async (what) => {
    asked.push(what)
  })
  await clock.advance(1_000)
  registry.revision = '2'
  await clock.advance(1_500)
  assert.deepEqual(asked, ['end', 'end', 'all', 'end', 'end'])
  stream[Symbol.dispose]()
  await clock.advance(2_500)
  assert.equal(asked.length, 5, 'a stream that is over is not asked')
})

test('one function that has entered twice is two streams', async () => {
  const { clock, watcher, enter } = made()
  using _watcher = watcher
  let asked = 0
  const ask = async (): Promise<void> => {
    asked++
  }
  const first = enter(ask)
  enter(ask)
  first[Symbol.dispose]()
  await clock.advance(500)
  assert.equal(asked, 1)
})

test('a registry that cannot be read is told once, and what changed meanwhile counts when it can', async () => {
  const { clock, lines, registry, watcher, enter } = made()
  using _watcher = watcher
  const asked: string[] = []
  enter(async (what) => {
    asked.push(what)
  })
  registry.revision = new Error('locked')
  await clock.advance(1_500)
  assert.deepEqual([asked, lines], [['end', 'end', 'end'], ['hub.registry']])
  registry.revision = '2'
  await clock.advance(500)
  registry.revision = new Error('locked')
  await clock.advance(500)
  assert.deepEqual([asked.at(-2), lines.length], ['all', 2])
})

test('over is over', async () => {
  const { clock, watcher, enter } = made()
  let asked = 0
  enter(async () => {
    asked++
  })
  watcher[Symbol.dispose]()
  await clock.advance(5_000)
  assert.deepEqual([asked, clock.pendingTimers], [0, 0])
})

test('a stream let in by what was read before a change is asked, although the change was seen already', async () => {
  const { clock, registry, watcher, enter } = made()
  using _watcher = watcher
  const before = watcher.current
  registry.revision = '2'
  await clock.advance(500)
  const asked: string[] = []
  const stream = enter(async (what) => void asked.push(what), undefined, before)
  await clock.advance(1_000)
  assert.deepEqual(asked, ['all', 'end'])
  stream.recheckSince(before)
  await clock.advance(1_000)
  assert.deepEqual(asked, ['all', 'end', 'all', 'end'])
})

test('a stream that may not go on ends; while the database does not answer it goes on, and is asked until it does', async () => {
  const { clock, registry, watcher, enter } = made()
  using _watcher = watcher
  const ended: string[] = []
  let thrown = new MeshError('MESH_STORAGE_FAILED', 'away')
  let asked = 0
  const stream = enter(
    async (what) => {
      if (what === 'end') return
      asked++
      throw thrown
    },
    (err) => ended.push(err.code),
  )
  registry.revision = '2'
  await clock.advance(1_500)
  assert.deepEqual([asked, ended], [3, []])
  thrown = new MeshError('MESH_TOKEN_INVALID', 'revoked')
  await clock.advance(500)
  stream[Symbol.dispose]()
  await clock.advance(500)
  assert.deepEqual([asked, ended], [4, ['MESH_TOKEN_INVALID']])
})
