import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { CATALOGUE, MeshError, formatSentence, toMeshError, type Row } from '../../core/errors.ts'

const rows: readonly (readonly [code: string, row: Row])[] = Object.entries(CATALOGUE)

test('no subject has a code that another has, which would be lost without a word', () => {
  const written = fs
    .globSync('core/{errors.ts,errors/*.ts}')
    .flatMap((file) => [...fs.readFileSync(file, 'utf8').matchAll(/^ {2}(MESH_\w+): \{/gm)].map(([, code]) => code!))
  assert.deepEqual(written.toSorted(), rows.map(([code]) => code).toSorted())
})

for (const [code, row] of rows)
  test(`${code} can be answered with and acted upon`, () => {
    assert.match(code, /^MESH_[A-Z0-9]+(?:_[A-Z0-9]+)*$/)
    assert.ok(Number.isInteger(row.http) && row.http >= 400 && row.http <= 599, `status ${row.http}`)
    assert.match(row.flag, /^(?:-|[A-Z_]+)$/)
    // A sentence that follows the message, for a person.
    assert.match(row.remedy, /^\S.*\.$/)
  })

test('only what did not reach an endpoint is tried again', () => {
  assert.deepEqual(
    rows.filter(([, { origin, retry }]) => retry !== 'never' && origin !== 'upstream').map(([code]) => code),
    [],
  )
})

test('an error carries its code, its row and its cause', () => {
  const cause = new Error('ECONNREFUSED')
  const err = new MeshError('MESH_CONNECT_FAILED', 'no way to 10.0.0.1:80', { cause })
  assert.equal(err.name, 'MeshError')
  assert.equal(err.cause, cause)
  assert.equal(err.row, CATALOGUE.MESH_CONNECT_FAILED)
})

test('what is thrown becomes one of ours, and one of ours stays what it is', () => {
  const ours = new MeshError('MESH_DRAINING', 'x')
  assert.equal(toMeshError(ours), ours)
  const other = new TypeError('not a function')
  const made = toMeshError(other)
  assert.deepEqual([made.code, made.message, made.cause], ['MESH_INTERNAL', 'not a function', other])
  assert.deepEqual([toMeshError('text').message, toMeshError(undefined).message], ['text', 'undefined'])
})

test('a sentence for a person has the code, what happened and what to do', () => {
  const { remedy } = CATALOGUE.MESH_PORT_IN_USE
  assert.equal(
    formatSentence(new MeshError('MESH_PORT_IN_USE', 'port 80 is taken')),
    `MESH_PORT_IN_USE: port 80 is taken. ${remedy}`,
  )
  assert.equal(
    formatSentence(new MeshError('MESH_PORT_IN_USE', 'port 80 is taken.')),
    `MESH_PORT_IN_USE: port 80 is taken. ${remedy}`,
  )
  assert.equal(
    formatSentence(new MeshError('MESH_PORT_IN_USE', 'two ports:\n- 80\n- 81')),
    `MESH_PORT_IN_USE: two ports:\n- 80\n- 81\n${remedy}`,
  )
})
