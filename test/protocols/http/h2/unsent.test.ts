import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { Metrics } from '../../../../core/metrics.ts'
import { MemoryBudget } from '../../../../core/runtime/memory-budget.ts'
import { UnsentHold } from '../../../../protocols/http/h2/unsent.ts'
import { Waiting } from '../../../../protocols/waiting.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'

const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve)
  })

test('what the socket has not taken counts against the budget until it has, or is gone', async () => {
  const metrics = new Metrics()
  const waiting = new Waiting({ metrics, clock: new SimClock(0), budget: new MemoryBudget({ maxBytes: 1 << 20 }) })
  const taken: (() => void)[] = []
  const socket = new Duplex({
    read() {
      /* nothing comes */
    },
    write(_chunk, _encoding, done) {
      taken.push(done)
    },
  })
  const unsent = new UnsentHold(socket, waiting, { client: '127.0.0.1', giveUp: () => {} })
  const counted = (): number => metrics.total('mesh_stream_waiting_bytes')
  const write = async (bytes: number): Promise<void> => {
    unsent.made({ unsentBytes: bytes } as never)
    socket.write(Buffer.alloc(bytes))
    await turn()
  }
  await write(1_000)
  assert.equal(counted(), 0)
  await write(30_000)
  assert.equal(counted(), 31_000)
  // Each write is done when the one before it is.
  for (let i = 0; i < 4; i++) {
    taken.shift()?.()
    await turn()
  }
  assert.equal(counted(), 0)
  await write(30_000)
  assert.equal(counted(), 30_000)
  unsent.end()
  assert.equal(counted(), 0)
})
