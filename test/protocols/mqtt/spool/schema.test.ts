import { test } from 'node:test'
import assert from 'node:assert/strict'
import Database from 'better-sqlite3'
import { MIGRATIONS, SEGMENT_ID, SQL } from '../../../../protocols/mqtt/spool/schema.ts'

test('every statement fits the tables that the migrations make', () => {
  const db = new Database(':memory:')
  for (const sql of MIGRATIONS) db.exec(sql)
  for (const sql of Object.values(SQL)) assert.doesNotThrow(() => db.prepare(sql), sql)
  db.close()
})

test('the segments of a queue lie together and in order, whatever its numbers', () => {
  const db = new Database(':memory:')
  const idOf = db.prepare(`SELECT ${SEGMENT_ID}`).pluck().safeIntegers()
  const ids = [
    [1, 1],
    [1, 2 ** 44 - 1],
    [2, 1],
    [2 ** 19 - 2, 2 ** 44 - 1],
  ].map(([queue, seq]) => idOf.get(queue, seq) as bigint)
  assert.deepEqual(
    ids,
    [...ids].sort((a, b) => (a < b ? -1 : 1)),
  )
  assert.equal(new Set(ids).size, 4)
  db.close()
})
