import test from 'node:test'
import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { Gather } from '../../../../protocols/http/codec/h1-write.ts'

/** Takes what is written and remembers each write. */
function recorder(onWrite: () => void = () => {}): { stream: Duplex; writes: string[] } {
  const writes: string[] = []
  const stream = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      writes.push(chunk.toString('latin1'))
      onWrite()
      done()
    },
    writev(chunks, done) {
      writes.push(Buffer.concat(chunks.map((c) => c.chunk as Buffer)).toString('latin1'))
      done()
    },
  })
  return { stream, writes }
}

test('head, body and end of a message go out in one write, and nothing of it is in the next', () => {
  const { stream, writes } = recorder()
  const out = new Gather(stream)
  out.text('HEAD\xe9\r\n')
  out.body(Buffer.from('body'))
  assert.equal(out.flush(), 11)
  assert.equal(out.empty, true)
  assert.equal(out.flush(), 0)
  out.text('next')
  out.flush()
  out.body(Buffer.from('alone'))
  out.flush()
  assert.deepEqual(writes, ['HEAD\xe9\r\nbody', 'next', 'alone'])
})

test('each chunk has its size in hexadecimal and the last one its trailers (RFC 9112 §7.1)', () => {
  const { stream, writes } = recorder()
  const out = new Gather(stream)
  out.chunked = true
  out.body(Buffer.alloc(26, 'x'))
  out.body(Buffer.alloc(0))
  out.end(['grpc-status', '0'])
  assert.equal(out.flush(), writes.join('').length)
  assert.deepEqual(writes, [`1a\r\n${'x'.repeat(26)}\r\n0\r\ngrpc-status: 0\r\n\r\n`])
  out.body(Buffer.from('plain'))
  out.end(['late', '1'])
  out.flush()
  assert.equal(writes[1], 'plain', 'the message after a chunked one is not chunked')
})

test('a body that is too long to be copied together goes out whole and in order', () => {
  const { stream, writes } = recorder()
  const out = new Gather(stream)
  const long = Buffer.alloc(100_000, 'y')
  out.text('head ')
  out.body(long)
  out.text(' tail')
  assert.equal(out.flush(), long.length + 10)
  assert.equal(writes.join(''), `head ${long.toString('latin1')} tail`)
})

test('a message begun while another is being written is neither lost nor sent twice', () => {
  let again = true
  const { stream, writes } = recorder(() => {
    if (again) {
      again = false
      out.text('second')
      out.body(Buffer.from('!'))
      out.flush()
    }
  })
  const out = new Gather(stream)
  out.text('first')
  out.body(Buffer.from('.'))
  out.flush()
  assert.equal(out.empty, true)
  assert.deepEqual(writes, ['first.', 'second!'])
})

test('many small pieces become one, however much they are together', () => {
  const counts: number[] = []
  const stream = new Duplex({
    read() {},
    write(_chunk, _encoding, done) {
      counts.push(1)
      done()
    },
    writev(chunks, done) {
      counts.push(chunks.length)
      done()
    },
  })
  const out = new Gather(stream)
  out.chunked = true
  for (let i = 0; i < 10_000; i++) out.body(Buffer.from('x'))
  assert.equal(out.flush(), 60_000)
  assert.deepEqual(counts, [1])
})
