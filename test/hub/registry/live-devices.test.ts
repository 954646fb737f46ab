import { test } from 'node:test'
import assert from 'node:assert/strict'
import { silentLog } from '../../../core/log.ts'
import { LiveDevices } from '../../../hub/registry/live-devices.ts'
import { HUB_GONE_MS } from '../../../hub/registry/replicas.ts'
import type { Registry } from '../../../hub/registry/registry.ts'
import type { DeviceChange } from '../../../hub/registry/rows.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

async function rig() {
  const clock = new SimClock(1_000_000)
  const written: { changes: readonly DeviceChange[]; atMs: number }[] = []
  const state = { isBroken: false, forgotten: 0, isKnown: true, waits: undefined as Promise<void> | undefined }
  const registry = {
    registerReplica: async () => {
      state.forgotten++
    },
    devicesChanged: async (changes: readonly DeviceChange[], atMs: number) => {
      await state.waits
      if (state.isBroken) throw new Error('disk full')
      written.push({ changes, atMs })
      return state.isKnown
    },
  } as unknown as Registry
  const live = await LiveDevices.open({ registry, clock, log: silentLog })
  /** Those that told of a device. */
  const changes = (): DeviceChange[] => written.flatMap((w) => w.changes)
  return { clock, live, state, written, changes }
}

test('at its start nobody is connected, and it says that it lives, well before it would be taken for gone', async () => {
  const { clock, live, state, written } = await rig()
  await using _live = live
  assert.deepEqual([state.forgotten, written.length], [1, 1])
  await clock.advance(HUB_GONE_MS)
  assert.ok(written.length >= 3)
})

test('what changed within a second is written once, with the last of it', async () => {
  const { clock, live, changes } = await rig()
  await using _live = live
  const node = live.connected('gw-1')
  node.is({ inForce: 'v1', refused: undefined })
  node.is({ inForce: 'v2', refused: 'c: no name' })
  assert.equal(changes().length, 0)
  await clock.advance(1_000)
  assert.deepEqual(changes(), [
    {
      name: 'gw-1',
      connectedMs: 1_000_000,
      lastSeenMs: 1_000_000,
      inForce: 'v2',
      inForceMs: 1_000_000,
      refused: 'c: no name',
    },
  ])
  live.connected('gw-2')
  await clock.advance(1_000)
  assert.deepEqual(
    changes().map((c) => c.name),
    ['gw-1', 'gw-2'],
    'what was written is not written again',
  )
})

test('the time of a version is that of its coming into force, not of what is said again', async () => {
  const { clock, live, changes } = await rig()
  await using _live = live
  const node = live.connected('gw-1')
  node.is({ inForce: 'v1', refused: undefined })
  await clock.advance(5_000)
  const before = changes().length
  node.is({ inForce: 'v1', refused: undefined })
  await clock.advance(2_000)
  assert.equal(changes().length, before, 'nothing is new')
  node.is({ inForce: 'v1', refused: 'x' })
  await clock.advance(2_000)
  assert.deepEqual([changes().at(-1)?.inForceMs, changes().at(-1)?.refused], [1_000_000, 'x'])
})

test('a node is connected until the last of its streams has ended, each of which ends once', async () => {
  const { clock, live, changes } = await rig()
  await using _live = live
  const [one, other] = [live.connected('gw-1'), live.connected('gw-1')]
  one[Symbol.dispose]()
  one[Symbol.dispose]()
  await clock.advance(1_000)
  assert.equal(changes().at(-1)?.connectedMs, 1_000_000)
  other[Symbol.dispose]()
  other.is({ inForce: 'late', refused: undefined })
  await clock.advance(1_000)
  assert.deepEqual([changes().at(-1)?.connectedMs, changes().at(-1)?.inForce], [null, undefined])
})

test('what cannot be written is tried again with what comes next', async () => {
  const { clock, live, state, changes } = await rig()
  await using _live = live
  state.isBroken = true
  live.connected('gw-1')
  await clock.advance(1_000)
  state.isBroken = false
  live.connected('gw-2')
  await clock.advance(1_000)
  assert.deepEqual(
    changes().map((c) => c.name),
    ['gw-1', 'gw-2'],
  )
})

test('at its end what is open is written, and no timer is left', async () => {
  const { clock, live, changes } = await rig()
  live.connected('gw-1')
  await live[Symbol.asyncDispose]()
  assert.equal(changes().length, 1)
  assert.equal(clock.pendingTimers, 0)
})

test('what changes while something is being written is written after it', async () => {
  const { clock, live, state, changes } = await rig()
  await using _live = live
  const { promise, resolve } = Promise.withResolvers<void>()
  state.waits = promise
  const node = live.connected('gw-1')
  await clock.advance(1_000)
  node.is({ inForce: 'v2', refused: undefined })
  await clock.advance(1_000)
  assert.equal(changes().length, 0)
  resolve()
  await clock.advance(1)
  assert.deepEqual(
    changes().map((c) => c.inForce),
    [undefined, 'v2'],
  )
})
