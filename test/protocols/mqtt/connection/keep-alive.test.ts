import { test } from 'node:test'
import assert from 'node:assert/strict'
import { listenForDefects } from '../../../../core/defects/guard.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'
import { KeepAlive } from '../../../../protocols/mqtt/connection/keep-alive.ts'

class Client {
  isHeld = false
  readonly closed: string[] = []
  close({ code }: { code: string }): void {
    this.closed.push(code)
  }
}
const CLOSED = ['MESH_MQTT_KEEP_ALIVE']

test('a client that is silent for one and a half times its Keep Alive is closed within a quarter of a second', async () => {
  const clock = new SimClock()
  await clock.advance(101)
  const client = new Client()
  new KeepAlive(clock, 10, client)
  await clock.advance(14_999)
  assert.deepEqual(client.closed, [])
  await clock.advance(251)
  assert.deepEqual([client.closed, clock.pendingTimers], [CLOSED, 0])
})
test('who says something has as much time again', async () => {
  const clock = new SimClock()
  const client = new Client()
  const keepAlive = new KeepAlive(clock, 10, client)
  for (let i = 0; i < 5; i++) {
    await clock.advance(14_000)
    keepAlive.noteHeard()
  }
  assert.deepEqual(client.closed, [])
  await clock.advance(15_250)
  assert.deepEqual(client.closed, CLOSED)
})
test('who is not read from is not closed for silence', async () => {
  const clock = new SimClock()
  const client = new Client()
  const keepAlive = new KeepAlive(clock, 10, client)
  client.isHeld = true
  await clock.advance(100_000)
  assert.deepEqual(client.closed, [])
  client.isHeld = false
  keepAlive.noteHeard()
  await clock.advance(14_999)
  assert.deepEqual(client.closed, [])
  await clock.advance(15_250)
  assert.deepEqual(client.closed, CLOSED)
})
test('many have one timer, and it goes with the last of them', async () => {
  const clock = new SimClock()
  const all = Array.from({ length: 100 }, () => new KeepAlive(clock, 60, new Client()))
  assert.equal(clock.pendingTimers, 1)
  for (const one of all) {
    assert.equal(clock.pendingTimers, 1)
    one.stop()
    one.stop()
  }
  assert.equal(clock.pendingTimers, 0)
})
test('one that ends another in its round does not disturb the rest', async () => {
  const clock = new SimClock()
  const [first, second, third] = [new Client(), new Client(), new Client()]
  new KeepAlive(clock, 10, { isHeld: false, close: (err) => (first.close(err), ofSecond.stop()) })
  const ofSecond = new KeepAlive(clock, 10, second)
  new KeepAlive(clock, 10, third)
  await clock.advance(15_250)
  assert.deepEqual([first.closed, third.closed, clock.pendingTimers], [CLOSED, CLOSED, 0])
})
test('without a Keep Alive nothing is watched', async () => {
  const clock = new SimClock()
  const client = new Client()
  new KeepAlive(clock, 0, client)
  await clock.advance(1_000_000)
  assert.deepEqual([client.closed, clock.pendingTimers], [[], 0])
})
test('a client whose end goes wrong, or is the end of another one, keeps nobody from its turn', async () => {
  const clock = new SimClock()
  const defects: string[] = []
  using _ = listenForDefects((_part, { code }) => defects.push(code))
  const [broken, other, last] = [new Client(), new Client(), new Client()]
  new KeepAlive(clock, 10, broken)
  const ofOther = new KeepAlive(clock, 10, other)
  new KeepAlive(clock, 10, last)
  broken.close = () => {
    ofOther.stop()
    throw new Error('defect')
  }
  await clock.advance(15_250)
  assert.deepEqual([defects, other.closed, last.closed, clock.pendingTimers], [['MESH_INTERNAL'], [], CLOSED, 0])
})
