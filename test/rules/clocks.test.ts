/**
 * Whether a certificate counts at a time is asked in one place: nobody else compares its dates with a clock. And how
 * long something took is told by the monotonic clock: the other one may be set meanwhile.
 */
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

/** What was written down or said elsewhere, by the only clock that outlives a process. */
const OUTLIVES_THE_PROCESS = [
  'agent/admin/conditions/control-plane.ts',
  'control-sync/authorization-age.ts',
  'control-sync/snapshot/copier.ts',
  'control-sync/snapshot/saver.ts',
  'core/os/wall-time.ts',
  'hub/api/server-identity.ts',
  'hub/cli/operations/local-devices.ts',
  'hub/cli/devices/show.ts',
  'hub/cli/restore.ts',
  'protocols/dns/resolver/answer-store.ts',
  'protocols/mqtt/session/sessions.ts',
]

const DIFFERENCE = /wallMs\(\) - [\w.#(]+|[\w.#]+ - [\w.#]*\bwallMs\b(?:\(\))?/g
const findDifferences = (source: string): string[] =>
  source.replace(/\/\*[^]*?\*\/|\/\/[^\n]*/g, '').match(DIFFERENCE) ?? []

test('no duration is the difference of two times of the wall clock', () => {
  const found = ['agent', 'control-sync', 'core', 'hub', 'model', 'protocols']
    .flatMap((dir) => fs.globSync(`${dir}/**/*.ts`))
    .filter((file) => !OUTLIVES_THE_PROCESS.includes(file))
    .flatMap((file) => findDifferences(fs.readFileSync(file, 'utf8')).map((code) => [file, code] as const))
  assert.deepEqual(found, [])
})
test('every exception still has a difference', () => {
  for (const file of OUTLIVES_THE_PROCESS) assert.ok(findDifferences(fs.readFileSync(file, 'utf8')).length > 0, file)
})
for (const code of ['took(clock.wallMs() - startedMs)', 'const ms = now - this.#clock.wallMs()', 'endedMs - wallMs'])
  test(`the rule finds ${code}`, () => assert.equal(findDifferences(code).length, 1))
