/** In which order answers are changed by filters. Beside Envoy: npm run test:envoy. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { HttpFilter } from '../../../../model/listener.ts'
import type { HeaderEdit } from '../../../../model/route.ts'
import { collectMutations } from '../../../../protocols/http/filters/route-edits.ts'

const edit = (value: string): HeaderEdit => ({ remove: [], add: [{ name: 'r', value, how: 'append' }] })
const mutation = (name: string): HttpFilter => ({
  kind: 'mutation',
  name,
  mutations: { request: [], response: [edit(name)] },
  nearestWins: false,
  isEarly: false,
})
const other = (name: string): HttpFilter => ({ kind: 'blocked', name, reason: '' })

test('answers pass all filters from the last one to the first, whatever they do to them', () => {
  const filters = [mutation('first'), other('authz'), mutation('second'), other('limit'), other('silent')]
  const added = [
    { at: 1, edit: edit('authz') },
    { at: 3, edit: edit('limit') },
  ]
  const { response } = collectMutations(filters, undefined, added)
  assert.deepEqual(
    response.map(({ add }) => add[0]!.value),
    ['limit', 'second', 'authz', 'first'],
  )
})
