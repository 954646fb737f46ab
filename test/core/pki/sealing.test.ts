import { test } from 'node:test'
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { isSealed, createSealer } from '../../../core/pki/sealing.ts'

const key = randomBytes(32)
const plain = Buffer.from('-----BEGIN PRIVATE KEY-----')

test('what is sealed opens with the same key, as bytes or in base64, and shows nothing of itself', () => {
  const sealed = createSealer(key, 'key').seal(plain, 'identity')
  for (const form of [
    key,
    Buffer.from(key.toString('base64')),
    Buffer.from(`${key.toString('base64')}\n`),
    Buffer.from(key.toString('base64url')),
  ])
    assert.deepEqual(createSealer(form, 'key').open(sealed, 'identity'), plain)
  assert.ok(isSealed(sealed) && !isSealed(plain) && !isSealed(sealed.subarray(0, 5)))
  assert.ok(!sealed.includes('PRIVATE') && !sealed.includes(key))
  assert.notDeepEqual(createSealer(key, 'key').seal(plain, 'identity'), sealed, 'a nonce is used once')
  assert.deepEqual(
    createSealer(key, 'key').open(createSealer(key, 'key').seal(Buffer.alloc(0), 'x'), 'x'),
    Buffer.alloc(0),
  )
})
test('what stands for a name is the same for the same key and name, and otherwise another', () => {
  const one = createSealer(key, 'key').standIn('cluster a')
  assert.deepEqual(createSealer(key, 'key').standIn('cluster a'), one)
  assert.match(one, /^[\w-]{22}$/)
  for (const other of [
    createSealer(key, 'key').standIn('cluster b'),
    createSealer(randomBytes(32), 'key').standIn('cluster a'),
  ])
    assert.notDeepEqual(other, one)
})
test('another key and another format are told from damage', () => {
  const sealed = createSealer(key, 'key').seal(plain, 'identity')
  assert.throws(() => createSealer(randomBytes(32), 'key').open(sealed, 'identity'), {
    code: 'MESH_STATE_LOCKED',
    message: /another key/,
  })
  const newer = Buffer.from(sealed)
  newer[14] = 2
  assert.throws(() => createSealer(key, 'key').open(newer, 'identity'), {
    code: 'MESH_STATE_LOCKED',
    message: /format 2/,
  })
})
test('every bit counts, every byte is needed, and one purpose does not open as another', () => {
  const sealer = createSealer(key, 'key')
  const sealed = sealer.seal(plain, 'identity')
  for (let i = 0; i < sealed.length; i++) {
    const bad = Buffer.from(sealed)
    bad[i]! ^= 1
    assert.throws(() => sealer.open(bad, 'identity'), `byte ${i}`)
    assert.throws(() => sealer.open(sealed.subarray(0, i), 'identity'), `cut at ${i}`)
  }
  assert.throws(() => sealer.open(sealed, 'snapshot'), RangeError)
  assert.throws(() => sealer.open(plain, 'identity'), RangeError)
})
test('a key that is none is refused without repeating it', () => {
  for (const bad of [
    '',
    'too short',
    'x'.repeat(33),
    randomBytes(31).toString('base64'),
    'hunter2 hunter2 hunter2 hunter2 hunter2 hun',
  ]) {
    assert.throws(
      () => createSealer(Buffer.from(bad), 'identity.encryptionKey: /k'),
      (err: { code: string; message: string }) =>
        err.code === 'MESH_CONFIG_INVALID' && (bad === '' || !err.message.includes(bad)),
    )
  }
})
