import { test } from 'node:test'
import assert from 'node:assert/strict'
import { detach, guard, listenForDefects } from '../../../core/defects/guard.ts'

test('what a callback throws ends what it belongs to, is told once, and goes no further', () => {
  const told: string[] = []
  using _heard = listenForDefects((part, { code, message }) => told.push(`${part} ${code} ${message}`))
  const ended: string[] = []
  guard(
    'http2',
    ({ code }) => {
      ended.push(code)
    },
    (what: string) => {
      throw new TypeError(what)
    },
  )('an odd field')
  assert.deepEqual(told, ['http2 MESH_INTERNAL an odd field'])
  assert.deepEqual(ended, ['MESH_INTERNAL'])
})

test('an end that throws, too, is a second defect and no more', () => {
  const told: string[] = []
  using _heard = listenForDefects((_part, { message }) => told.push(message))
  guard(
    'tcp',
    () => {
      throw new Error('already over')
    },
    () => {
      throw new Error('first')
    },
  )()
  assert.deepEqual(told, ['first', 'already over'])
})

test('a promise that nobody awaits is told like a callback', async () => {
  const told: string[] = []
  using _heard = listenForDefects((part, { message }) => told.push(`${part} ${message}`))
  const { promise, resolve } = Promise.withResolvers<void>()
  detach('dns', Promise.reject(new Error('lost')), () => resolve())
  await promise
  assert.deepEqual(told, ['dns lost'])
})
