import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { createPlainAnswer, type Answer } from '../../../../protocols/dns/codec/answer.ts'
import type { Entry } from '../../../../protocols/dns/resolver/cache.ts'
import { readResponse } from '../../../../protocols/dns/codec/response.ts'
import { decodeAnswers, encodeAnswers } from '../../../../protocols/dns/resolver/stored-answers.ts'
import { encode } from 'dns-packet'
import { a, query } from '../../../helpers/dns.ts'

const entry = (answer: Answer, staleUntilMs = 10_000): Entry => ({
  answer,
  storedMs: 0,
  freshUntilMs: 0,
  staleUntilMs,
  restUntilMs: 0,
})
const real = (name: string): [string, Entry] => {
  const question = query(name).subarray(12)
  const response = readResponse(
    encode({
      type: 'response',
      id: 1,
      flags: 0x8180,
      questions: [{ name, type: 'A' }],
      answers: [a(name, '10.0.0.1')],
    }),
    { id: 1, question, type: 1 },
  )!
  return [`${question.toString('latin1', 0, question.length - 4)}1 1 256`, entry(response)]
}
const NOW = { wallMs: 5, monotonicMs: 0 }

test('the file is bounded: the longest unused answers are left out, the order stays', () => {
  const all = Array.from({ length: 100 }, (_, i) => real(`n${i}.example`))
  const bytes = encodeAnswers(all, NOW, 1_000)!
  assert.ok(bytes.length <= 1_000)
  const back = decodeAnswers(bytes).answers
  assert.ok(back.length > 5)
  assert.deepEqual(
    back.map((r) => r.key),
    all.slice(-back.length).map(([key]) => key),
  )
  assert.deepEqual(back.at(-1)?.answer, { rcode: 0, flags: 0, records: all.at(-1)![1].answer.records })
  assert.equal(encodeAnswers([], NOW, 1_000), undefined)
  assert.equal(
    encodeAnswers(
      [real('a.b')].map(([key, e]) => [key, { ...e, staleUntilMs: 0 }]),
      NOW,
      1_000,
    ),
    undefined,
  )
})

test('a cut at every offset, and a change of any byte, is found', () => {
  const bytes = encodeAnswers([real('a.example'), real('b.example')], NOW, 10_000)!
  for (let end = 0; end < bytes.length; end++)
    assert.throws(() => decodeAnswers(bytes.subarray(0, end)), RangeError, `${end}`)
  for (let at = 0; at < bytes.length; at++) {
    const changed = Buffer.from(bytes)
    changed[at]! ^= 0x40
    assert.throws(() => decodeAnswers(changed), at === 11 ? { code: 'MESH_STORAGE_NEWER' } : RangeError, `${at}`)
  }
})

test('an answer that could not have come from the network is not taken from the disk', () => {
  for (const broken of [
    { ...real('a.b')[1].answer, records: { ...real('a.b')[1].answer.records, counts: [5, 0, 0] as const } },
    { ...createPlainAnswer(0), records: { counts: [1, 0, 0] as const, body: Buffer.of(1), ends: [], ttlAt: [] } },
  ])
    assert.throws(() => decodeAnswers(encodeAnswers([[real('a.b')[0], entry(broken)]], NOW, 10_000)!), RangeError)
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.uint8Array({ maxLength: 60 }),
      fc.nat(3),
      (text, body, count) => {
        const key = Buffer.from(text).toString('latin1')
        const bytes = encodeAnswers(
          [
            [
              key,
              entry({
                rcode: 0,
                flags: 0,
                records: { counts: [count, 0, 0], body: Buffer.from(body), ends: [], ttlAt: [] },
              }),
            ],
          ],
          NOW,
          10_000,
        )!
        try {
          decodeAnswers(bytes)
        } catch (err) {
          assert.ok(err instanceof RangeError)
        }
      },
    ),
    { numRuns: 1_000, seed: 5 },
  )
})
