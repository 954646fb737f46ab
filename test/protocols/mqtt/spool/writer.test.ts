import { test } from 'node:test'
import assert from 'node:assert/strict'
import { listValues } from '../../../../core/storage/storage.ts'
import { SQL } from '../../../../protocols/mqtt/spool/schema.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import { all, message, Rig, rig, texts } from './rig.ts'

test('everything of one turn, and everything that comes while a commit runs, is one transaction', async (t) => {
  const r = await rig(t)
  const q = await r.queue()
  r.storage.commits.length = 0
  const first = Array.from({ length: 100 }, (_, i) => r.spool.append(message(`${i}`), [q]))
  await Promise.all(first)
  assert.equal(r.storage.commits.length, 1)
  r.storage.hold()
  const running = r.spool.append(message('a'), [q])
  await settle()
  const waiting = [
    r.spool.append(message('b'), [q], { clientId: 'c', packetId: 1 }),
    r.spool.saveRetained('t', message('r')),
  ]
  await settle()
  waiting.push(r.spool.append(message('c'), [q]))
  r.storage.resume()
  await Promise.all([running, ...waiting])
  assert.equal(r.storage.commits.length, 3)
  await r.spool[Symbol.asyncDispose]()
})

test('acknowledgements are on the disk a quarter of a second later, without any other commit', async (t) => {
  const r = await rig(t)
  const q = await r.queue()
  await Promise.all(['1', '2', '3'].map((n) => r.spool.append(message(n), [q])))
  q.done(2)
  q.done(1)
  await r.clock.advance(250)
  for (let i = 0; i < 100 && r.storage.commits.length < 3; i++) await settle()
  await new Promise((resolve) => {
    setTimeout(resolve, 50)
  })
  const image = `${r.storage.path}.image`
  r.storage.crashImage(image)
  const crashed = await new Rig(image).open()
  assert.deepEqual(texts(await all(crashed.spool.queue('q')!)), ['3'])
  await Promise.all([crashed.spool[Symbol.asyncDispose](), r.spool[Symbol.asyncDispose]()])
})

test('a slow trickle does not become a row per message', async (t) => {
  const r = await rig(t)
  const q = await r.queue()
  for (let i = 0; i < 100; i++) await r.spool.append(message(`message ${i}`), [q])
  const firsts = new Set(
    r.storage.commits.flatMap((c) =>
      c.filter((s) => s.sql.includes('INTO segment')).map((s) => listValues(s.params!)[1]),
    ),
  )
  assert.ok(firsts.size <= 2, `${firsts.size} rows`)
  await r.spool[Symbol.asyncDispose]()
  const again = await r.open()
  assert.deepEqual(
    texts(await all(again.spool.queue('q')!)),
    Array.from({ length: 100 }, (_, i) => `message ${i}`),
  )
  await again.spool[Symbol.asyncDispose]()
})

test('a large batch becomes several segments, so that a backlog is read in pieces', async (t) => {
  const r = await rig(t)
  const q = await r.queue()
  r.storage.commits.length = 0
  await Promise.all(Array.from({ length: 40 }, () => r.spool.append(message('x'.repeat(10_000)), [q])))
  assert.equal(r.storage.commits.length, 1)
  assert.deepEqual(
    r.storage.commits[0]!.filter(({ sql }) => sql === SQL.putSegment).map((s) => listValues(s.params!).slice(1, 3)),
    [
      [1, 14],
      [15, 28],
      [29, 40],
    ],
  )
  await r.spool[Symbol.asyncDispose]()
})

test('a message that several routes bring to one queue is in it once', async (t) => {
  const r = await rig(t)
  const q = await r.queue()
  await r.spool.append(message('x'), [q, q])
  assert.equal(q.depth, 1)
  await r.spool[Symbol.asyncDispose]()
})

type Sent = {
  /** Half a window more. */
  readonly send: () => Promise<unknown>
  readonly second: Promise<unknown>
  readonly commits: readonly unknown[]
}
/** Senders with a window: half of it was committed, the other half waits. */
async function sendWindowInTwo(r: Rig, slowMs: number): Promise<Sent> {
  const q = await r.queue()
  r.storage.commits.length = 0
  r.storage.hold()
  const send = (): Promise<unknown> => Promise.all(Array.from({ length: 50 }, () => r.spool.append(message('m'), [q])))
  const first = send()
  await settle()
  const second = send()
  await settle()
  await r.clock.advance(slowMs)
  r.storage.resume()
  await first
  return { send, second, commits: r.storage.commits }
}

test('behind a slow commit the next one waits for the messages of those who were just acknowledged', async (t) => {
  const r = await rig(t)
  const { send, second, commits } = await sendWindowInTwo(r, 50)
  await settle()
  assert.equal(commits.length, 1, 'half of the window waits')
  await Promise.all([second, send()])
  assert.equal(commits.length, 2, 'the whole window goes at once, before the wait is over')
  await r.spool[Symbol.asyncDispose]()
})

test('nobody sends more: what waits behind a slow commit goes after some milliseconds, and at once behind a fast one', async (t) => {
  const slow = await rig(t)
  const window = await sendWindowInTwo(slow, 50)
  await settle()
  assert.equal(window.commits.length, 1)
  await slow.clock.advance(10)
  await window.second
  await slow.spool[Symbol.asyncDispose]()
  const fast = await rig(t)
  await (
    await sendWindowInTwo(fast, 1)
  ).second
  await fast.spool[Symbol.asyncDispose]()
})

test('acknowledgements whose time comes while a commit runs are on the disk after it, without any other', async (t) => {
  const r = await rig(t)
  const q = await r.queue()
  await Promise.all(['1', '2', '3'].map((n) => r.spool.append(message(n), [q])))
  q.done(1)
  r.storage.hold()
  const running = r.spool.append(message('4'), [q])
  await settle()
  q.done(2)
  await r.clock.advance(250)
  r.storage.resume()
  await running
  await r.clock.advance(10)
  while (r.storage.busy > 0) await settle()
  const crashed = await r.crash()
  assert.deepEqual(texts(await all(crashed.spool.queue('q')!)), ['3', '4'])
  await crashed.spool[Symbol.asyncDispose]()
})
