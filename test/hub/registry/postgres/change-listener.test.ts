/** Who hears of a change, by a client that is made up; postgres.test.ts has a real database. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import type { Client } from 'pg'
import { silentLog } from '../../../../core/log.ts'
import { ChangeListener } from '../../../../hub/registry/postgres/change-listener.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'

class FakeClient extends EventEmitter {
  readonly asked: string[] = []
  readonly #isThere: () => boolean
  isEnded = false
  constructor(isThere: () => boolean) {
    super()
    this.#isThere = isThere
  }
  async connect(): Promise<void> {
    if (!this.#isThere()) throw new Error('refused')
  }
  async query(text: string): Promise<void> {
    if (!this.#isThere()) throw new Error('timeout')
    this.asked.push(text)
  }
  async end(): Promise<void> {
    this.isEnded = true
    this.emit('end')
  }
}

function made() {
  const clock = new SimClock()
  const [clients, heard, state] = [[] as FakeClient[], [] as string[], { isThere: true }]
  const open = () =>
    ChangeListener.open({
      clock,
      log: silentLog,
      random: { float: () => 0.5 } as never,
      channel: 'c',
      onChange: (sender) => heard.push(sender),
      makeClient: () => {
        clients.push(new FakeClient(() => state.isThere))
        return clients.at(-1)! as unknown as Client
      },
    })
  return { clock, clients, heard, state, open }
}

test('a notice is a change; a connection that is lost is made again, at longer and longer intervals, and then all may have changed', async () => {
  const m = made()
  await using listener = await m.open()
  m.clients[0]!.emit('notification', { payload: 'other' })
  assert.deepEqual([m.heard, m.clients[0]!.asked], [['other'], ['LISTEN c']])
  m.state.isThere = false
  m.clients[0]!.emit('error', new Error('reset'))
  m.clients[0]!.emit('end')
  await m.clock.advance(10_000)
  const tried = m.clients.length
  assert.ok(tried >= 4 && tried <= 8, `${tried} tries in ten seconds`)
  assert.ok(m.clients.every((c) => c.isEnded))
  m.state.isThere = true
  await m.clock.advance(10_000)
  assert.deepEqual(m.heard, ['other', ''])
  assert.equal(m.clients.filter((c) => !c.isEnded).length, 1)
  await listener[Symbol.asyncDispose]()
})

test('a connection that is dead without a word is found by asking', async () => {
  const m = made()
  await using _listener = await m.open()
  await m.clock.advance(4_000)
  assert.equal(m.clients.length, 1)
  m.state.isThere = false
  await m.clock.advance(2_000)
  m.state.isThere = true
  await m.clock.advance(2_000)
  assert.deepEqual([m.clients.length, m.heard], [2, ['']])
})

test('no connection at the start is told, and leaves nothing behind; nor does the end', async () => {
  const m = made()
  m.state.isThere = false
  await assert.rejects(m.open(), /refused/)
  assert.equal(m.clock.pendingTimers, 0)
  m.state.isThere = true
  const listener = await m.open()
  await listener[Symbol.asyncDispose]()
  assert.deepEqual([m.clock.pendingTimers, m.clients.every((c) => c.isEnded)], [0, true])
})
