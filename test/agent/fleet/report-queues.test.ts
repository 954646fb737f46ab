import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createQueueCollector } from '../../../agent/fleet/report-queues.ts'
import type { Drops } from '../../../protocols/mqtt/durability.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

type Parts = Parameters<typeof createQueueCollector>[0]
type Queue = { depth: number; bytes: number; drops: Drops }
const queue = (depth: number, drops: Drops = {}): Queue => ({ depth, bytes: depth * 10, drops })

function rig(queues: Record<string, Queue>, most: number) {
  const clock = new SimClock()
  const parts = {
    clock,
    spool: {
      queueNames: (prefix: string) => Object.keys(queues).filter((name) => name.startsWith(prefix)),
      queue: (name: string) => queues[name],
    },
    bridge: { findState: (name: string) => (name.startsWith('up/gone') ? undefined : 'waiting') },
    broker: {
      operations: { sessions: (_of: unknown, id: string) => ({ items: [{ isConnected: id.startsWith('here') }] }) },
    },
    // A collector asks no more of them.
  } as unknown as Parts
  return { clock, collect: createQueueCollector(parts, most) }
}
const shown = ({ collect }: ReturnType<typeof rig>) =>
  collect().rows.map(({ kind, name, state, messages }) => [kind, name, state, messages].join(' '))

test('the deepest come first, with the state of their receiver; what holds nothing and lost nothing is none', () => {
  const r = rig(
    {
      'session/away-1': queue(7),
      'session/here-1': queue(20),
      'session/here-2': queue(0, { expired: 1, queue: 2 }),
      'session/empty': queue(0),
      'up/broker/gw-1': queue(0),
      'up/gone/gw-1': queue(3),
      'aside/broker/gw-1': queue(1),
      'aside/gone/gw-1': queue(0),
    },
    32,
  )
  assert.deepEqual(shown(r), [
    'session here-1 connected 20',
    'session away-1 away 7',
    'bridge gone/gw-1 unrouted 3',
    'aside broker/gw-1 waiting 1',
    'session here-2 connected 0',
    'bridge broker/gw-1 waiting 0',
  ])
  assert.equal(r.collect().rows.find(({ name }) => name === 'here-2')?.drops, 3)
})

test('lanes are told by what they are for, and what is no such key as it is', () => {
  const name = (key: string): string => `up/b/gw\u00003\u0000${key}`
  const r = rig(
    {
      [name('["route","plant/+/t",["",""]]')]: queue(9),
      [name('["priority",5,"plain"]')]: queue(8),
      [name('["priority",0,"plain","live-first"] live')]: queue(7),
      [name('\u001b[2J"')]: queue(6),
    },
    32,
  )
  assert.deepEqual(
    r.collect().rows.map((row) => row.name),
    ['b/gw route "plant/+/t"', 'b/gw priority 5', 'b/gw priority 0 live', 'b/gw \u001b[2J"'],
  )
})

test('of 10,000 sessions the deepest few have rows, the rest are counted and summed', () => {
  const queues = Object.fromEntries(
    Array.from({ length: 10_000 }, (_, i) => [`session/c${i}`, queue(i, i === 0 ? { share: 5 } : {})]),
  )
  const { rows, more } = rig(queues, 3).collect()
  assert.deepEqual(
    rows.map(({ name }) => name),
    ['c9999', 'c9998', 'c9997'],
  )
  const messages = (9_996 * 9_997) / 2
  assert.deepEqual(more, { queues: 9_997, messages, bytes: messages * 10, drops: 5 })
})

test('since when it holds messages is kept until it is empty', async () => {
  const queues = { 'session/a': queue(0, { expired: 1 }) }
  const { clock, collect } = rig(queues, 4)
  const since = (): number | undefined => collect().rows[0]!.sinceMs
  assert.equal(since(), undefined)
  queues['session/a'].depth = 4
  const first = since()
  assert.equal(first, Math.round(clock.wallMs() / 1_000) * 1_000)
  await clock.advance(600_000)
  queues['session/a'].depth = 9
  assert.equal(since(), first)
  queues['session/a'].depth = 0
  assert.equal(since(), undefined)
  queues['session/a'].depth = 1
  assert.equal(since(), first! + 600_000)
})
