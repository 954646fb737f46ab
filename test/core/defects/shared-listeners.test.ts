import { test } from 'node:test'
import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { listenForDefects } from '../../../core/defects/guard.ts'
import { SharedListeners } from '../../../core/defects/shared-listeners.ts'

type Owner = { readonly heard: unknown[]; readonly ended: string[] }
const createOwner = (): Owner => ({ heard: [], ended: [] })
const LISTENERS = new SharedListeners<Owner, EventEmitter>(
  'network',
  (owner, error, emitter) => owner.ended.push(`${error.code} ${emitter.listenerCount('data')}`),
  {
    data: (owner, chunk: string) => owner.heard.push(chunk),
    end: (owner, _none, emitter) => owner.heard.push(emitter),
    bad: () => {
      throw new TypeError('a defect')
    },
  },
)

test('each owner hears of its own emitter', () => {
  const [a, b] = [new EventEmitter(), new EventEmitter()]
  const [ofA, ofB] = [createOwner(), createOwner()]
  LISTENERS.listen(a, ofA)
  LISTENERS.listen(b, ofB)
  a.emit('data', 'one')
  b.emit('data', 'two')
  b.emit('end')
  assert.deepEqual([ofA.heard, ofB.heard], [['one'], ['two', b]])
})

test('emitters of one kind have the same functions', () => {
  const [a, b] = [new EventEmitter(), new EventEmitter()]
  for (const emitter of [a, b]) LISTENERS.listen(emitter, createOwner())
  assert.equal(a.listeners('data')[0], b.listeners('data')[0])
})

test('what a listener throws is reported and ends its own owner', () => {
  const reported: string[] = []
  using _ = listenForDefects((part, { code }) => reported.push(`${part} ${code}`))
  const [emitter, other] = [new EventEmitter(), new EventEmitter()]
  const [owner, ofOther] = [createOwner(), createOwner()]
  LISTENERS.listen(emitter, owner)
  LISTENERS.listen(other, ofOther)
  emitter.emit('bad')
  assert.deepEqual([reported, owner.ended, ofOther.ended], [['network MESH_INTERNAL'], ['MESH_INTERNAL 1'], []])
})
