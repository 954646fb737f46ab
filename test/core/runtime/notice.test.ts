import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Notice, toSignal, type Abortable } from '../../../core/runtime/notice.ts'

const REASON = new Error('over')

/** What is seen of either by the same calls. */
function play(of: { readonly signal: Abortable; abort(reason: Error): void }): unknown[] {
  const { signal } = of
  const seen: unknown[] = [signal.aborted, signal.reason]
  const listeners = ['a', 'b', 'c'].map((name) => () => void seen.push(name, signal.aborted, signal.reason))
  const late = (): void => void seen.push('was taken away')
  const taker = (): void => signal.removeEventListener('abort', late)
  const object = { handleEvent: () => void seen.push('object') }
  for (const listener of [...listeners, object, taker, late]) signal.addEventListener('abort', listener, { once: true })
  // A second time changes nothing, whoever is alone or not.
  for (const listener of [listeners[0]!, object]) signal.addEventListener('abort', listener)
  signal.removeEventListener('abort', listeners[1]!)
  of.abort(REASON)
  of.abort(new Error('again'))
  signal.addEventListener('abort', listeners[1]!)
  seen.push(signal.aborted, signal.reason)
  return seen
}

test('a notice tells what an AbortSignal tells', () => {
  const notice = new Notice()
  assert.deepEqual(play({ signal: notice, abort: (reason) => notice.abort(reason) }), play(new AbortController()))
})

test('a notice with one listener tells it, or nobody once it is taken away', () => {
  for (const isTaken of [false, true]) {
    const notice = new Notice()
    const told: string[] = []
    const listener = (): void => void told.push('told')
    notice.addEventListener('abort', listener)
    if (isTaken) notice.removeEventListener('abort', listener)
    notice.abort(REASON)
    assert.deepEqual(told, isTaken ? [] : ['told'])
  }
})

test('the signal of a notice is aborted with it, whenever it was asked for', async () => {
  const notice = new Notice()
  const before = toSignal(notice)
  const aborted = once(before, 'abort')
  notice.abort(REASON)
  await aborted
  for (const signal of [before, toSignal(notice)]) assert.deepEqual([signal.aborted, signal.reason], [true, REASON])
})

test('a signal is its own', () => {
  const { signal } = new AbortController()
  assert.equal(toSignal(signal), signal)
})
