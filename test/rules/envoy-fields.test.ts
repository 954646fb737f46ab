/**
 * Nothing is said of a field of Envoy's that is not so: each one is set and the decoders' answer looked at
 * (test/fields/probe.ts).
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { ACTED_ON, REFUSED } from '../../control-sync/decode/fields/supported-fields.ts'
import { loadFullRegistry } from '../../proto/full/registry.ts'
import { entryOf, fieldsPage, keyOf, testsOf } from '../fields/page.ts'
import { probeAll } from '../fields/probe.ts'
import { ABOUT_SECURITY, HARMLESS, NO_EFFECT } from '../fields/reasons.ts'
import { SHOWN_BY } from '../fields/shown-by.ts'

const probed = probeAll()
const named = (outcome: string): typeof probed => probed.filter((p) => p.outcome === outcome)

test('docs/envoy-fields.md is what the decoders do (npm run docs writes it)', () =>
  assert.equal(fs.readFileSync('docs/envoy-fields.md', 'utf8'), fieldsPage()))

test('a field that changes nothing is reported as ignored or refused, unless a reason stands in test/fields/reasons.ts', () => {
  assert.deepEqual(
    named('nothing')
      .filter((p) => !entryOf(NO_EFFECT, p))
      .map(keyOf),
    [],
  )
})
test('reasons are given for fields that need one, and for no others', () => {
  const needed = new Set([
    ...named('nothing').flatMap((p) => [keyOf(p), `*.${p.field}`]),
    ...named('ignored').map(keyOf),
  ])
  assert.deepEqual(
    [...Object.keys(NO_EFFECT), ...Object.keys(HARMLESS)].filter((key) => !needed.has(key)),
    [],
  )
})
test('of messages that decide who gets in, nothing is ignored without a reason', () => {
  assert.deepEqual(
    named('ignored')
      .filter((p) => ABOUT_SECURITY.test(p.type) && !entryOf(HARMLESS, p))
      .map(keyOf),
    [],
  )
})
test('what is listed as refused is refused', () => {
  const all = [...REFUSED].flatMap(([type, fields]) =>
    [...fields].map(
      (field) => probed.find((p) => p.type === type && p.field === field) ?? `${type}.${field} is not probed`,
    ),
  )
  assert.deepEqual(
    all.flatMap((p) => (typeof p === 'string' ? [p] : p.outcome === 'refused' ? [] : [`${keyOf(p)}: ${p.outcome}`])),
    [],
  )
})
test('whatever is acted upon has a test, and the tests that are named exist', () => {
  assert.deepEqual(
    named('acted upon')
      .filter((p) => testsOf(p).length === 0)
      .map(keyOf),
    [],
  )
  assert.deepEqual(
    Object.entries(SHOWN_BY).flatMap(([key, [file, text]]) =>
      fs.existsSync(file) && fs.readFileSync(file, 'utf8').includes(text) ? [] : [`${key}: ${file} has no ${text}`],
    ),
    [],
  )
})
test('the table of what is acted upon names fields that Envoy has', () => {
  const unknown = [...ACTED_ON, ...REFUSED].flatMap(([type, fields]) =>
    [...fields]
      .filter(
        (f) =>
          f !== '' &&
          !loadFullRegistry()
            .getMessage(type)
            ?.fields.some((d) => d.name === f),
      )
      .map((f) => `${type}.${f}`),
  )
  assert.deepEqual(unknown, [])
})
