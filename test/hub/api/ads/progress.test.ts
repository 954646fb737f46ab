import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Progress } from '../../../../hub/api/ads/progress.ts'

const answer = (typeUrl: string, responseNonce: string, problem?: string) => ({
  typeUrl,
  responseNonce,
  ...(problem === undefined ? {} : { errorDetail: { message: problem } }),
})

test('a version is in force once all that was sent of it is taken', () => {
  const progress = new Progress()
  progress.sent('v1', [
    { typeUrl: 'cluster', nonce: '1' },
    { typeUrl: 'listener', nonce: '2' },
  ])
  progress.answered('ack', answer('cluster', '1'))
  assert.equal(progress.inForce, undefined)
  progress.answered('ack', answer('listener', '2'))
  assert.equal(progress.inForce, 'v1')
  progress.sent('v2', [])
  assert.equal(progress.inForce, 'v2', 'a change that does not concern the node needs no answer')
})

test('what was refused keeps the version before in force until it is taken or taken back', () => {
  const progress = new Progress()
  progress.sent('v1', [{ typeUrl: 'cluster', nonce: '1' }])
  progress.answered('ack', answer('cluster', '1'))
  progress.sent('v2', [{ typeUrl: 'cluster', nonce: '2' }])
  progress.answered('nack', answer('cluster', '2', 'no such field'))
  assert.deepEqual([progress.inForce, progress.refused], ['v1', 'no such field'])
  progress.sent('v3', [{ typeUrl: 'listener', nonce: '3' }])
  progress.answered('ack', answer('listener', '3'))
  assert.deepEqual([progress.inForce, progress.refused], ['v1', 'no such field'], 'another type says nothing of it')
  progress.sent('v4', [{ typeUrl: 'cluster', nonce: '4' }])
  progress.answered('ack', answer('cluster', '2'))
  assert.equal(progress.inForce, 'v1', 'an answer to an older response')
  progress.answered('ack', answer('cluster', '4'))
  assert.deepEqual([progress.inForce, progress.refused], ['v4', undefined])
})

test('answers that answer nothing change nothing', () => {
  const progress = new Progress()
  progress.answered('none', answer('cluster', ''))
  progress.answered('stale', answer('cluster', '9'))
  assert.deepEqual([progress.inForce, progress.refused], [undefined, undefined])
})
