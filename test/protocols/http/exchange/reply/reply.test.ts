/** Refusals in words of HTTP and of gRPC. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError } from '../../../../../core/errors.ts'
import { createErrorReply, toAnswer } from '../../../../../protocols/http/exchange/reply/reply.ts'

const REFUSED = new MeshError('MESH_TOKEN_REFUSED', 'there is no token')

test('a refusal over HTTP has the status of its code, the code and the text', () => {
  const { head, body } = toAnswer(createErrorReply(REFUSED), false)
  assert.equal(head.status, 401)
  assert.deepEqual(head.headers, ['x-meshlet-error', 'MESH_TOKEN_REFUSED', 'content-type', 'text/plain'])
  assert.equal(body?.toString(), 'MESH_TOKEN_REFUSED: there is no token\n')
})
test('a refusal over gRPC is a status of its own in trailers only', () => {
  const { head, body } = toAnswer(createErrorReply(REFUSED), true)
  assert.equal(head.status, 200)
  assert.equal(head.headers[head.headers.indexOf('grpc-status') + 1], '16')
  assert.equal(head.headers[head.headers.indexOf('grpc-message') + 1], 'MESH_TOKEN_REFUSED: there is no token')
  assert.equal(body, undefined)
})
test('an answer without a body has no type of one', () => {
  const { head } = toAnswer({ status: 204, headers: ['content-type', 'a/b'], text: 'x', end: '' }, false)
  assert.deepEqual(head.headers, [])
})
