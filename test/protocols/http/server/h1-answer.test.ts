/** What an answer looks like on the wire, and when it is the last of its connection. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { UNKNOWN_LENGTH } from '../../../../protocols/http/codec/framing.ts'
import { H1Answer, type H1AnswerOwner } from '../../../../protocols/http/server/h1-answer.ts'
import { connectionInClear } from '../../parts.ts'
import { manager } from '../harness.ts'

type State = { -readonly [K in keyof H1AnswerOwner]: H1AnswerOwner[K] }

function rig(method = 'GET', version: 'HTTP/1.0' | 'HTTP/1.1' = 'HTTP/1.1', upgrade?: string) {
  const stream = new PassThrough()
  const conn = connectionInClear(stream, manager())
  let touched = 0
  let isFull = false
  const owner: State = {
    isOpen: true,
    isRequestDone: true,
    isLeaving: false,
    outlet: { isFull: () => isFull } as never,
    touch: () => {
      touched++
    },
    setIdleMs: () => assert.fail(),
    handOver: () => ({ stream, rest: undefined }),
    finished: assert.fail,
  }
  const answer = new H1Answer(conn, owner)
  answer.method = method
  answer.begin(version, upgrade, true)
  const taken = (): string => {
    const bytes = stream.read() as Buffer | null
    return bytes ? bytes.toString('latin1') : ''
  }
  return {
    answer,
    owner,
    conn,
    stream,
    fill: () => {
      isFull = true
    },
    touched: () => touched,
    taken,
    say: (status: number, contentLength: number, body?: string): string => {
      answer.sendHead({ status, headers: ['x', 'y'], contentLength }, body === undefined)
      if (body !== undefined) answer.sendData(Buffer.from(body))
      answer.sendEnd(undefined)
      answer.flush()
      return taken()
    },
  }
}
const lines = (text: string): string[] => text.split('\r\n')

for (const { name, method, version, status = 200, length, body, has, lacks = [], keeps } of [
  {
    name: 'a known length',
    length: 2,
    body: 'hi',
    has: ['content-length: 2', 'hi'],
    lacks: ['connection: close'],
    keeps: true,
  },
  {
    name: 'an unknown length',
    length: UNKNOWN_LENGTH,
    body: 'hi',
    has: ['transfer-encoding: chunked', '2', 'hi', '0'],
    keeps: true,
  },
  {
    name: 'an unknown length to a client of 1.0: until the connection closes',
    version: 'HTTP/1.0' as const,
    length: UNKNOWN_LENGTH,
    body: 'hi',
    has: ['connection: close', 'hi'],
    lacks: ['transfer-encoding: chunked'],
    keeps: false,
  },
  {
    name: 'HEAD: the length, and no body',
    method: 'HEAD',
    length: 2,
    body: 'hi',
    has: ['content-length: 2'],
    lacks: ['hi'],
    keeps: true,
  },
  { name: '304: no body', status: 304, length: UNKNOWN_LENGTH, body: 'hi', has: ['x: y'], lacks: ['hi'], keeps: true },
])
  test(`framing: ${name}`, () => {
    const r = rig(method, version)
    const told = lines(r.say(status, length, body))
    for (const line of has) assert.ok(told.includes(line), `${line} is not in ${told.join('|')}`)
    for (const line of lacks) assert.ok(!told.includes(line), `${line} is in ${told.join('|')}`)
    assert.equal(r.answer.keepAlive, keeps)
  })

for (const { name, change } of [
  { name: 'the connection takes no further request', change: { isLeaving: true } },
  { name: 'the request has not come to its end', change: { isRequestDone: false } },
])
  test(`the last answer of a connection says so: ${name}`, () => {
    const r = rig()
    Object.assign(r.owner, change)
    assert.ok(lines(r.say(200, 2, 'hi')).includes('connection: close'))
    assert.equal(r.answer.keepAlive, false)
  })

test('nothing is written once the connection is no longer open', () => {
  const r = rig()
  r.owner.isOpen = false
  r.answer.sendContinue()
  r.answer.sendInformational({ status: 103, headers: [], contentLength: UNKNOWN_LENGTH })
  assert.equal(r.say(200, 2, 'hi'), '')
  assert.equal(r.conn.sentBytes, 0)
})
test('informational answers: 100 and 103 at once, nothing to a client of 1.0', () => {
  const r = rig()
  r.answer.sendContinue()
  assert.equal(r.taken(), 'HTTP/1.1 100 Continue\r\n\r\n')
  r.answer.sendInformational({ status: 103, headers: ['link', 'a'], contentLength: UNKNOWN_LENGTH })
  assert.equal(r.taken(), 'HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n')
  r.answer.sendInformational({ status: 101, headers: [], contentLength: UNKNOWN_LENGTH })
  assert.equal(r.taken(), '')
  const old = rig('GET', 'HTTP/1.0')
  old.answer.sendInformational({ status: 103, headers: [], contentLength: UNKNOWN_LENGTH })
  assert.equal(old.taken(), '')
})

test('what leaves counts, moves the idle time, and is held up when the client takes no more', () => {
  const r = rig()
  r.answer.sendHead({ status: 200, headers: [], contentLength: 4 }, false)
  r.answer.sendData(Buffer.from('hi'))
  assert.equal(r.answer.flush(), true)
  assert.equal(r.touched(), 1)
  assert.equal(r.conn.sentBytes, r.taken().length)
  r.fill()
  r.answer.sendData(Buffer.from('ho'))
  assert.equal(r.answer.flush(), false)
  r.answer.sendEnd(undefined)
  r.answer.flush()
  assert.equal(r.touched(), 2, 'after the last byte the time of the connection runs, not that of the exchange')
})
test('the request is read on only while it has not ended', () => {
  const r = rig()
  r.answer.pauseRequest()
  assert.equal(r.stream.isPaused(), false)
  r.owner.isRequestDone = false
  r.answer.pauseRequest()
  assert.equal(r.stream.isPaused(), true)
  r.owner.isOpen = false
  r.answer.resumeRequest()
  assert.equal(r.stream.isPaused(), true)
  r.owner.isOpen = true
  r.answer.resumeRequest()
  assert.equal(r.stream.isPaused(), false)
})
test('a stream that is taken over gets its head first: with the protocol after 101, without after CONNECT', () => {
  const switched = rig('GET', 'HTTP/1.1', 'websocket')
  switched.answer.takeOver({ status: 101, headers: [], contentLength: UNKNOWN_LENGTH })
  assert.ok(lines(switched.taken()).includes('upgrade: websocket'))
  const connected = rig('CONNECT')
  connected.answer.takeOver({ status: 200, headers: [], contentLength: UNKNOWN_LENGTH })
  assert.equal(connected.taken(), 'HTTP/1.1 200 OK\r\n\r\n')
})

test('a second answer to one request is a defect, and no bytes', () => {
  const r = rig()
  const head = { status: 200, headers: [], contentLength: 2 }
  r.answer.sendHead(head, false)
  assert.throws(() => r.answer.sendHead(head, false), { code: 'MESH_INTERNAL' })
  r.answer.sendData(Buffer.from('hi'))
  r.answer.sendEnd(undefined)
  r.answer.flush()
  assert.equal(r.taken().match(/HTTP\/1\.1/g)?.length, 1)
  r.answer.begin('HTTP/1.1', undefined, true)
  assert.match(r.say(200, 2, 'hi'), /^HTTP\/1\.1 200 /)
})
