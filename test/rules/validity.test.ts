/** Whether a certificate counts at a time is asked in one place: nobody else compares its dates with a clock. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'

const OWNER = 'core/pki/validity.ts'
/** What compares a certificate with another one, or with the share of its life that is over, and not with a clock. */
const OTHER_QUESTIONS: readonly (readonly [file: string, code: string])[] = [
  ['control-sync/identity/fitness.ts', 'next.notAfterMs < present.notAfterMs'],
  ['control-sync/identity/fitness.ts', 'next.notBeforeMs >= present.notBeforeMs'],
  ['control-sync/identity/cert-manager.ts', 'stored.notBeforeMs < own.notBeforeMs'],
  ['control-sync/identity/renewal.ts', 'nowMs() >= identity.notAfterMs'],
]

const DATE = String.raw`[\w.?!]*\b(?:notAfter|notBefore|validTo|validFrom)\w*(?:\.getTime\(\))?`
const COMPARED = new RegExp(String.raw`[\w.()?!]+ [<>]=? ${DATE}|${DATE} [<>]=? [\w.()?!]+`, 'g')

function compared(source: string): string[] {
  return source.replace(/\/\*[^]*?\*\/|\/\/[^\n]*/g, '').match(COMPARED) ?? []
}

test(`only ${OWNER} compares the dates of certificates with a time`, () => {
  const found = ['agent', 'control-sync', 'core', 'hub', 'model', 'protocols']
    .flatMap((dir) => fs.globSync(`${dir}/**/*.ts`))
    .filter((file) => file !== OWNER)
    .flatMap((file) => compared(fs.readFileSync(file, 'utf8')).map((code) => [file, code] as const))
    .filter(([file, code]) => !OTHER_QUESTIONS.some(([f, c]) => f === file && code.includes(c)))
  assert.deepEqual(found, [])
})

for (const code of [
  'if (nowMs >= own.notAfterMs) end()',
  'peer.identity.notAfterMs < this.#clock.wallMs()',
  'leaf.validToDate.getTime() <= now',
  'clock.wallMs() < leaf.validFromDate.getTime()',
])
  test(`the rule finds ${code}`, () => assert.equal(compared(code).length, 1))
test('the rule leaves alone what copies, adds and prints dates', () => {
  assert.deepEqual(compared('const { notAfterMs } = own; say(notAfterMs + graceMs); f({ notBeforeMs: 1 })'), [])
})
