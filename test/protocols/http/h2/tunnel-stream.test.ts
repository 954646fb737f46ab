/** A tunnel as a byte stream: when it is used, what a reset is, and when it is over. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { MeshError } from '../../../../core/errors.ts'
import { Http2Stream, type StreamSession } from '../../../../protocols/http/h2/stream/stream.ts'
import { ReceiveWindow } from '../../../../protocols/http/h2/stream/receive-window.ts'
import { TunnelStream, type TunnelOptions } from '../../../../protocols/http/h2/tunnel-stream.ts'

function rig(o: Partial<TunnelOptions> = {}): { stream: Http2Stream; tunnel: TunnelStream; seen: string[] } {
  const seen: string[] = []
  const session: StreamSession = {
    wantsToSend: () => seen.push('wants to send'),
    consumed: (_stream, bytes) => seen.push(`consumed ${bytes}`),
    resetStream: (stream, code) => {
      seen.push(`reset ${code}`)
      stream.close(code, undefined)
    },
    maybeClose: () => {},
  }
  const stream = new Http2Stream(session, 1, 65_535, new ReceiveWindow(65_535, 0))
  stream.hasHead = true
  stream.pause()
  const tunnel = new TunnelStream(stream, {
    describeReset: (code) => new MeshError('MESH_UPSTREAM_RESET', `code ${code}`),
    onUse: () => seen.push('used'),
    onReset: () => seen.push('broken'),
    onPaused: (isPaused) => seen.push(isPaused ? 'paused' : 'read'),
    onClosed: () => seen.push('closed'),
    ...o,
  })
  tunnel.on('error', () => {})
  return { stream, tunnel, seen }
}

test('the first read or write is its use, and there is one', async () => {
  for (const use of [
    (t: TunnelStream) => t.resume(),
    (t: TunnelStream) => t.write('x'),
    (t: TunnelStream) => t.end(),
  ]) {
    const { tunnel, seen } = rig()
    assert.ok(!seen.includes('used'))
    use(tunnel)
    tunnel.resume()
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
    assert.equal(seen.filter((what) => what === 'used').length, 1)
  }
})

test('released before its use it says nothing to the peer, and the HTTP/2 stream is as it was', async () => {
  const { stream, tunnel, seen } = rig()
  tunnel.release()
  await once(tunnel, 'close')
  assert.equal(stream.isClosed, false)
  assert.deepEqual(seen, [])
})

test('a peer that breaks it off is an error of the reader, and everybody is told once', async () => {
  const { stream, tunnel, seen } = rig()
  tunnel.resume()
  const failed = once(tunnel, 'error')
  stream.close(8, undefined)
  const [error] = (await failed) as [MeshError]
  assert.equal(error.message, 'code 8')
  assert.deepEqual(
    seen.filter((what) => what === 'broken' || what === 'closed'),
    ['broken', 'closed'],
  )
})

test('destroyed in the middle it resets the stream with CONNECT_ERROR (RFC 9113 §8.5)', async () => {
  const { tunnel, seen } = rig()
  tunnel.destroy()
  await once(tunnel, 'close')
  assert.ok(seen.includes('reset 10'))
})

test('what is not read pauses the stream, and reading goes on with it', async () => {
  const { stream, tunnel, seen } = rig()
  tunnel.once('readable', () => {})
  await new Promise((resolve) => {
    setImmediate(resolve)
  })
  stream.take(Buffer.alloc(65_536))
  assert.ok(seen.includes('paused'))
  stream.take(Buffer.alloc(10))
  assert.equal(stream.unreadBytes, 10)
  seen.length = 0
  let got = 0
  tunnel.on('data', (chunk: Buffer) => (got += chunk.length))
  await new Promise((resolve) => {
    setTimeout(resolve, 10)
  })
  assert.equal(got, 65_546)
  assert.ok(seen.includes('read'))
})
