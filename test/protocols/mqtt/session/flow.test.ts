import { test } from 'node:test'
import assert from 'node:assert/strict'
import { settle } from '../../../helpers/sim-clock.ts'
import type { DurableQueue, QueueEntry } from '../../../../protocols/mqtt/durability.ts'
import { DurableFlow } from '../../../../protocols/mqtt/session/flow.ts'
import type { Link } from '../../../../protocols/mqtt/connection/link.ts'

const entry = (seq: number): QueueEntry => ({
  seq,
  released: false,
  message: {
    topic: 'q',
    payload: Buffer.from('x'),
    qos: 2,
    retain: false,
    properties: Buffer.alloc(0),
    expiresAtMs: undefined,
  },
})

/** A queue whose answers wait for the test, and connections that note what becomes of them. */
class Bench {
  readonly reads: PromiseWithResolvers<readonly QueueEntry[]>[] = []
  readonly releases: PromiseWithResolvers<void>[] = []
  readonly seen: string[] = []
  readonly flow: DurableFlow

  constructor() {
    const later = <T>(to: PromiseWithResolvers<T>[]): Promise<T> => {
      to.push(Promise.withResolvers<T>())
      return to.at(-1)!.promise
    }
    const queue = {
      firstSeq: 1,
      lastSeq: 1,
      onAppended: undefined,
      done() {
        /* not asked for */
      },
      read: () => later(this.reads),
      release: () => later(this.releases),
    } as unknown as DurableQueue
    this.flow = new DurableFlow({ queue, viewOf: () => ({ qos: 2, retainAsPublished: false, ids: [] }) })
  }
  link(name: string): Link {
    return {
      receiveMaximum: 10,
      congested: false,
      send: () => {
        this.seen.push(`${name} sent`)
        return true
      },
      close: () => {
        this.seen.push(`${name} closed`)
      },
      outbox: {
        ack: (type: string) => {
          this.seen.push(`${name} ${type}`)
        },
      },
    } as unknown as Link
  }
}

test('a disk that fails ends the connection that waits for it', async () => {
  const b = new Bench()
  b.flow.attach(b.link('first'))
  b.reads[0]!.reject(new Error('the disk'))
  await settle()
  assert.deepEqual(b.seen, ['first closed'])
})

test('what a read for an earlier connection brings, or that it failed, is nothing to the next one', async () => {
  for (const end of [
    (read: PromiseWithResolvers<readonly QueueEntry[]>) => read.reject(new Error('the disk')),
    (read: PromiseWithResolvers<readonly QueueEntry[]>) => read.resolve([entry(1)]),
  ]) {
    const b = new Bench()
    b.flow.attach(b.link('first'))
    b.flow.detach()
    b.flow.attach(b.link('second'))
    end(b.reads[0]!)
    await settle()
    assert.deepEqual(b.seen, [])
    b.reads[1]!.resolve([entry(1)])
    await settle()
    assert.deepEqual(b.seen, ['second sent'])
  }
})

test('what becomes of a PUBREC of an earlier connection is nothing to the next one', async () => {
  for (const end of [
    (release: PromiseWithResolvers<void>) => release.reject(new Error('the disk')),
    (release: PromiseWithResolvers<void>) => release.resolve(),
  ]) {
    const b = new Bench()
    b.flow.attach(b.link('first'))
    b.reads[0]!.resolve([entry(1)])
    await settle()
    b.flow.pubrec(1, 0)
    b.flow.detach()
    b.flow.attach(b.link('second'))
    end(b.releases[0]!)
    await settle()
    assert.deepEqual(b.seen, ['first sent'])
  }
})
