/** docs/performance.md: V8 remembers four shapes of an object for each place; a fifth makes Node's sockets slow. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import net from 'node:net'
import v8 from 'node:v8'
import { systemNetwork, type NetStream } from '../../../core/os/network.ts'
import { LogOutput } from '../../../core/log-output.ts'
import { PausedStreams } from '../../../protocols/paused-streams.ts'
import { systemClock } from '../../../core/os/clock.ts'

v8.setFlagsFromString('--allow-natives-syntax')
// oxlint-disable-next-line typescript/no-implied-eval -- V8's own words are no JavaScript that a file could hold
const haveSameShape = new Function('a', 'b', 'return %HaveSameMap(a, b)') as (a: object, b: object) => boolean

test('a dialed and an accepted socket have one shape, also when they are watched', async () => {
  const first = Promise.withResolvers<NetStream>()
  await using server = await systemNetwork.listen({ host: '127.0.0.1', port: 0 }, first.resolve)
  const dialed = await systemNetwork.dial({ host: '127.0.0.1', port: server.port }, new AbortController().signal)
  const sockets = [dialed.stream, (await first.promise).stream] as const
  const watch = new PausedStreams(systemClock)
  for (const socket of sockets) {
    watch.watch(socket)
    socket.resume()
  }
  const areAlike = haveSameShape(...sockets)
  for (const socket of sockets) socket.destroy()
  assert.ok(areAlike)
})

test('Node does not look for timers of standard output', () => {
  const stdout = new net.Socket()
  void new LogOutput(stdout, { isJournal: false })
  const { _unrefTimer: own } = Object.getOwnPropertyDescriptors(stdout) as Record<string, PropertyDescriptor>
  const { _unrefTimer: nodes } = Object.getOwnPropertyDescriptors(net.Socket.prototype) as Record<
    string,
    PropertyDescriptor
  >
  assert.equal(typeof own?.value, 'function')
  assert.equal(typeof nodes?.value, 'function', 'this Node calls it otherwise')
})
