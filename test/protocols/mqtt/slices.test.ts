import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Slices } from '../../../protocols/mqtt/slices.ts'

class TestClock {
  nowMs = 0
  workedMs = 0
  asked = 0
  monotonicMs(): number {
    return this.nowMs
  }
  threadCpuMs(): number {
    this.asked++
    return this.workedMs
  }
  work(ms: number): void {
    this.nowMs += ms
    this.workedMs += ms
  }
}

test('connections of one turn share ten milliseconds, and each has two', () => {
  const clock = new TestClock()
  const ends: (() => void)[] = []
  const slices = new Slices(clock, (end) => {
    ends.push(end)
  })
  const useUp = (): number => {
    const slice = slices.begin()
    const fromMs = clock.nowMs
    do clock.work(1)
    while (!slice.isOver())
    slices.end(slice)
    return clock.nowMs - fromMs
  }
  const short = slices.begin()
  clock.work(4)
  assert.equal(short.isOver(), false)
  slices.end(short)
  assert.deepEqual([useUp(), useUp(), useUp(), ends.length], [6, 2, 2, 1])
  ends.pop()!()
  assert.deepEqual([useUp(), ends.length], [10, 1])
})

test("what another process takes is nobody's share, and the work is asked for only where there is much", () => {
  const clock = new TestClock()
  const slice = new Slices(clock, () => {}).begin()
  clock.work(0.4)
  assert.deepEqual([slice.isOver(), clock.asked], [false, 0])
  clock.work(0.6)
  assert.deepEqual([slice.isOver(), clock.asked], [false, 1])
  clock.nowMs += 50
  assert.equal(slice.isOver(), false)
  clock.work(8)
  assert.equal(slice.isOver(), false)
  clock.work(1)
  assert.equal(slice.isOver(), true)
})
