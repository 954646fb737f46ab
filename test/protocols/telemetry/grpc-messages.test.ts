import { test } from 'node:test'
import assert from 'node:assert/strict'
import { GrpcMessageCount, GrpcMessages } from '../../../protocols/telemetry/grpc-messages.ts'
import { frameGrpc } from '../../../protocols/protobuf/message.ts'

const STREAM = Buffer.concat([0, 1, 5, 300].map((bytes) => frameGrpc(Buffer.alloc(bytes, 1))))

test('messages are counted wherever the bytes are cut', () => {
  for (let size = 1; size <= STREAM.length; size++) {
    const counted = new GrpcMessageCount()
    for (let at = 0; at < STREAM.length; at += size) counted.add(STREAM.subarray(at, at + size))
    assert.equal(counted.count, 4, `in pieces of ${size} bytes`)
  }
})

test('a message counts once its length is there, also where that is as long as can be said', () => {
  const counted = new GrpcMessageCount()
  counted.add(Buffer.of(0, 255, 255, 255))
  assert.equal(counted.count, 0)
  counted.add(Buffer.of(255, 1, 2, 3))
  counted.add(Buffer.alloc(1 << 20))
  assert.equal(counted.count, 1)
})

test('what was taken is not given again', () => {
  const messages = new GrpcMessages()
  messages.requests.add(STREAM)
  assert.deepEqual(messages.take(), { requests: 4, responses: 0 })
  messages.responses.add(STREAM)
  assert.deepEqual(messages.take(), { requests: 0, responses: 4 })
  assert.deepEqual(messages.take(), { requests: 0, responses: 0 })
})
