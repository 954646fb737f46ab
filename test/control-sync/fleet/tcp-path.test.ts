/** What dial.test.ts and hub-connection.test.ts do not see of the way: a signal ends it, wherever it is. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { test } from 'node:test'
import { openTcpPath } from '../../../control-sync/fleet/tcp-path.ts'

test('a proxy that takes the connection and says nothing is waited for until the signal, and let go of', async (t) => {
  const closed = Promise.withResolvers<void>()
  const asked = Promise.withResolvers<string>()
  const proxy = net.createServer((socket) => {
    socket.on('error', () => undefined)
    socket.on('data', (said) => asked.resolve(String(said)))
    socket.on('close', () => closed.resolve())
  })
  t.after(() => proxy.close())
  await once(proxy.listen(0, '127.0.0.1'), 'listening')
  const address = { host: '127.0.0.1', port: (proxy.address() as net.AddressInfo).port }
  const abort = new AbortController()
  const reason = new Error('too late')
  const opened = openTcpPath(
    { host: '2001:db8::1', port: 443, proxy: { address, credentials: undefined, noProxy: [] } },
    abort.signal,
  )
  const rejected = assert.rejects(opened, reason)
  assert.match(await asked.promise, /^CONNECT \[2001:db8::1\]:443 HTTP\/1\.1\r\nHost: \[2001:db8::1\]:443\r\n/)
  abort.abort(reason)
  await rejected
  await closed.promise
})

test('a signal that has come already opens nothing', async () => {
  const reason = new Error('too late')
  await assert.rejects(openTcpPath({ host: '127.0.0.1', port: 1, proxy: undefined }, AbortSignal.abort(reason)), reason)
})
