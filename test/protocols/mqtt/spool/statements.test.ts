import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { Statements } from '../../../../protocols/mqtt/spool/statements.ts'
import { message, rig } from './rig.ts'

const to = (topic: string, text = topic) => message(text, { topic })

test('retained messages that follow one another are one statement; what stands between them keeps its place', () => {
  const statements = new Statements()
  statements.putRetained(1, to('a'))
  statements.putRetained(2, to('b'))
  statements.push({ sql: 'between' })
  statements.putRetained(3, to('c'))
  assert.deepEqual(
    statements.take().map(({ sql, params }) => (params ? JSON.parse(String((params as unknown[])[1])).length : sql)),
    [2, 'between', 1],
  )
})

test('large ones are several statements', () => {
  const statements = new Statements()
  const large = 'x'.repeat(600_000)
  for (let i = 1; i <= 5; i++) statements.putRetained(i, to('a', large))
  assert.equal(statements.take().length, 3)
})

test('whatever is set and deleted in one transaction or several, each topic has its last message, also after opening again', async (t) => {
  const act = fc.record({
    topic: fc.constantFrom('a', 'b', 'c', 'ä/𝄞', '"\\'),
    text: fc.option(fc.string({ maxLength: 700, unit: 'grapheme' }), { nil: undefined }),
    waits: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 20 }), async (acts) => {
      const r = await rig(t)
      const expected = new Map<string, string>()
      const saved: Promise<void>[] = []
      for (const { topic, text, waits } of acts) {
        saved.push(r.spool.saveRetained(topic, text === undefined ? undefined : to(topic, text)))
        if (text === undefined) expected.delete(topic)
        else expected.set(topic, text)
        if (waits) await Promise.all(saved)
      }
      await Promise.all(saved)
      const again = await r.reopen()
      const found = [...again.spool.retained].map(([topic, { payload }]) => [topic, Buffer.from(payload).toString()])
      assert.deepEqual(new Map(found as [string, string][]), expected)
      await again.spool[Symbol.asyncDispose]()
    }),
    { numRuns: 30 },
  )
})
