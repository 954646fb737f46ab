import { test } from 'node:test'
import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import net from 'node:net'
import { hearUncaught, isOfOneConnection } from '../../../core/defects/last-line.ts'

test('what is uncaught or unhandled is heard until that is disposed of', () => {
  const source = new EventEmitter()
  const heard: unknown[] = []
  {
    using _hearing = hearUncaught(source, (thrown) => {
      heard.push(thrown)
    })
    source.emit('uncaughtException', 1)
    source.emit('unhandledRejection', 2)
  }
  source.emit('uncaughtException', 3)
  assert.deepEqual(heard, [1, 2])
})

test('an error event of a socket that nobody listened to is about one connection', async () => {
  const socket = net.connect({ port: 1, host: '127.0.0.1' })
  const [error] = (await once(socket, 'error')) as [Error]
  assert.equal(isOfOneConnection(error), true, error.stack ?? 'no stack')
})

for (const { name, stack, one } of [
  {
    name: 'an assertion within node:http2',
    stack: 'Error: x\n    at Http2Session.onFrame (node:internal/http2/core:123:4)\n    at emit (node:events:1:2)',
    one: true,
  },
  {
    name: 'a write to a socket that is gone',
    stack:
      'Error: write EPIPE\n    at afterWriteDispatched (node:internal/stream_base_commons:159:15)\n    at processTicksAndRejections (node:internal/process/task_queues:85:21)',
    one: true,
  },
  {
    name: 'a frame of ours below it',
    stack:
      'Error: x\n    at respond (node:internal/http2/core:1:2)\n    at H2Exchange.sendHead (/usr/lib/meshlet/meshlet.cjs:7:8)',
    one: false,
  },
  {
    name: 'a frame of ours without a function',
    stack: 'Error: x\n    at node:internal/http2/core:1:2\n    at file:///srv/agent/core/x.ts:7:8',
    one: false,
  },
  {
    name: 'a frame of code that was compiled from a string',
    stack: 'Error: x\n    at node:net:1:2\n    at eval (eval at x (other), <anonymous>:1:1)',
    one: false,
  },
  { name: 'Node, but no stream', stack: 'Error: x\n    at node:fs:1:2', one: false },
  { name: 'only what passes calls on', stack: 'Error: x\n    at emit (node:events:1:2)', one: false },
  { name: 'no frame at all', stack: 'Error: x', one: false },
]) {
  test(`${name}: ${one ? 'one connection' : 'nobody knows whose'}`, () => {
    const error = new Error('x')
    error.stack = stack
    assert.equal(isOfOneConnection(error), one)
  })
}

test("what is no error is nobody's", () => {
  assert.equal(isOfOneConnection('gone'), false)
})
