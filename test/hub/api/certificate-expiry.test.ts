import { test } from 'node:test'
import assert from 'node:assert/strict'
import { pino } from 'pino'
import { CertificateWatcher } from '../../../hub/api/certificate-expiry.ts'
import type { Registry } from '../../../hub/registry/registry.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

function made() {
  const clock = new SimClock()
  const lines: string[] = []
  const registry = { revision: '1' as string | Error }
  const read = {
    get revision(): string {
      if (registry.revision instanceof Error) throw registry.revision
      return registry.revision
    },
  } as Registry
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
  return { clock, lines, registry, watcher }
}

test('twice a second each stream is asked whether its credential has ended, and once for all after a change of the registry', async () => {
  const { clock, registry, watcher } = made()
  using _watcher = watcher
  const asked: string[] = []
  const stream = watcher.enter((what) => {
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
  const { clock, watcher } = made()
  using _watcher = watcher
  let asked = 0
  const ask = (): void => {
    asked++
  }
  const first = watcher.enter(ask)
  watcher.enter(ask)
  first[Symbol.dispose]()
  await clock.advance(500)
  assert.equal(asked, 1)
})

test('a registry that cannot be read is told once, and what changed meanwhile counts when it can', async () => {
  const { clock, lines, registry, watcher } = made()
  using _watcher = watcher
  const asked: string[] = []
  watcher.enter((what) => {
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
  const { clock, watcher } = made()
  let asked = 0
  watcher.enter(() => {
    asked++
  })
  watcher[Symbol.dispose]()
  await clock.advance(5_000)
  assert.deepEqual([asked, clock.pendingTimers], [0, 0])
})
