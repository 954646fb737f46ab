/** What the disk knows of what was sent: never less than what was, and nothing for messages that came while nobody was there. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { message, rig, type Rig } from './rig.ts'

const sentAfterCrash = async (t: TestContext, r: Rig): Promise<number | undefined> => {
  const next = await r.crash()
  t.after(() => next.spool[Symbol.asyncDispose]())
  return next.spool.queue('q')?.sentSeq
}
const put = async (r: Rig, count: number): Promise<void> => {
  const queue = await r.queue()
  for (let i = 0; i < count; i++) await r.spool.append(message('m'), [queue])
}

test('without a receiver nothing was sent; with one everything may have been', async (t) => {
  const away = await rig(t)
  await put(away, 3)
  assert.equal(await sentAfterCrash(t, away), 0)
  const there = await rig(t)
  const queue = await there.queue()
  assert.equal(queue.startSending(), undefined, 'of an empty queue nothing is to be waited for')
  await put(there, 3)
  assert.equal(queue.sentSeq, 3)
  assert.equal(await sentAfterCrash(t, there), 3)
})

test('a receiver that comes to what has waited waits for the disk once, and then no more', async (t) => {
  const r = await rig(t)
  await put(r, 3)
  const queue = await r.queue()
  const before = r.storage.commits.length
  const opening = queue.startSending()
  assert.ok(opening)
  await opening
  assert.equal(r.storage.commits.length, before + 1)
  assert.equal(queue.startSending(), undefined)
  await put(r, 2)
  assert.equal(r.storage.commits.length, before + 3, 'one commit for each message')
  assert.ok(
    r.storage.commits.at(-1)!.every(({ sql }) => !/\bqueue\b/.test(sql)),
    'and no row of the queue in it',
  )
  assert.equal(await sentAfterCrash(t, r), 5)
})

test('what came when the receiver had gone is known to be new, also after a crash in the next moment', async (t) => {
  const r = await rig(t)
  const queue = await r.queue()
  await queue.startSending()
  await put(r, 3)
  queue.endSending(2)
  await put(r, 1)
  assert.equal(await sentAfterCrash(t, r), 2)
})

test('an orderly end knows it to the message', async (t) => {
  const r = await rig(t)
  const queue = await r.queue()
  await queue.startSending()
  await put(r, 3)
  queue.endSending(1)
  const next = await r.reopen()
  t.after(() => next.spool[Symbol.asyncDispose]())
  assert.equal(next.spool.queue('q')?.sentSeq, 1)
})

test('a receiver that comes while it is being written that there is none waits until the disk knows of it', async (t) => {
  const r = await rig(t)
  const queue = await r.queue()
  await queue.startSending()
  await put(r, 3)
  queue.endSending(1)
  r.storage.hold()
  const put4 = r.spool.append(message('m'), [queue])
  await new Promise(setImmediate)
  const opening = queue.startSending()
  assert.ok(opening, 'the row that is on its way says 1')
  r.storage.resume()
  await put4
  await opening
  assert.equal(await sentAfterCrash(t, r), 4)
})

test('a commit that fails, perhaps after it was done, leaves nothing that is believed', async (t) => {
  for (const when of ['before', 'after'] as const) {
    const r = await rig(t)
    const queue = await r.queue()
    await queue.startSending()
    await put(r, 3)
    queue.endSending(1)
    r.storage.faults = [{ when, code: 'MESH_STORAGE_FAILED' }]
    await assert.rejects(r.spool.append(message('m'), [queue]))
    await queue.startSending()
    assert.ok((await sentAfterCrash(t, r))! >= 3, when)
  }
})

test('a queue that ends while its row is due leaves no row', async (t) => {
  const r = await rig(t)
  const queue = await r.queue()
  await put(r, 1)
  // Its row goes with the next commit, which is the one that ends it.
  await Promise.all([queue.startSending(), r.spool.deleteQueue('q')])
  assert.equal(await sentAfterCrash(t, r), undefined)
})
