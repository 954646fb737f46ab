/** A setting that nobody reads is a promise that nobody keeps. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import * as z from 'zod'
import { createAgentConfigSchema } from '../../agent/config/schema.ts'
import { hubConfigSchema } from '../../hub/config.ts'
import { namesRead, unread } from './checks/settings.ts'

type Json = {
  properties?: Record<string, Json>
  items?: Json
  anyOf?: Json[]
  oneOf?: Json[]
  additionalProperties?: Json | boolean
}
function settings(schema: Json): string[] {
  const more = typeof schema.additionalProperties === 'object' ? [schema.additionalProperties] : []
  const inner = [
    ...Object.values(schema.properties ?? {}),
    ...more,
    ...(schema.items ? [schema.items] : []),
    ...(schema.anyOf ?? []),
    ...(schema.oneOf ?? []),
  ]
  return [...Object.keys(schema.properties ?? {}), ...inner.flatMap(settings)]
}
const namesOf = (schema: z.ZodType): Set<string> =>
  new Set(settings(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Json))

/** Where settings are defined, and types that only list them. */
const DEFINE = new Set([
  'agent/config/schema.ts',
  ...fs.globSync('agent/config/schema/*.ts'),
  'model/mqtt-policy.ts',
  'model/mqtt/route.ts',
  'model/mqtt/bridge.ts',
  'model/mqtt/sparkplug.ts',
  'model/mqtt/users.ts',
  'hub/config.ts',
])
const sourcesOf = (...folders: string[]): string[] =>
  folders
    .flatMap((f) => fs.globSync(`${f}/**/*.ts`))
    .filter((file) => !DEFINE.has(file) && !file.startsWith('proto/'))
    .map((file) => fs.readFileSync(file, 'utf8'))

test('every setting of agent.yaml is read by code that acts on it', () => {
  const all = namesOf(createAgentConfigSchema())
  assert.ok(all.size > 60, `only ${all.size} settings found: the walk is broken`)
  assert.deepEqual(unread(all, sourcesOf('agent', 'protocols', 'control-sync', 'model', 'proto', 'core')), [])
})
test('docs/configuration.md names every setting of agent.yaml', () => {
  const page = fs.readFileSync('docs/configuration.md', 'utf8')
  assert.deepEqual(
    [...namesOf(createAgentConfigSchema())].filter((name) => !new RegExp(`\\b${name}\\b`).test(page)),
    [],
  )
})
test('every setting of hub.yaml is read by code that acts on it', () => {
  const all = namesOf(hubConfigSchema)
  assert.ok(all.size > 10, `only ${all.size} settings found: the walk is broken`)
  assert.deepEqual(unread(all, sourcesOf('hub', 'core', 'control-sync')), [])
})
test('the rule finds a setting that stands in types, defaults, messages and comments only', () => {
  const source = `
    export type Limits = { readonly maxBufferBytes: number }
    export const DEFAULTS: Limits = { maxBufferBytes: 1024, other: { maxBufferBytes: 2 } }
    // limits.maxBufferBytes is documented
    /** see limits.maxBufferBytes */
    throw new Error(\`too many (limits.maxBufferBytes) \${where}\`)
    log('limits.maxBufferBytes', "limits.maxBufferBytes")
    draft.maxBufferBytes = 3
  `
  assert.deepEqual(unread(['maxBufferBytes'], [source]), ['maxBufferBytes'])
})
for (const [how, source] of [
  ['behind a dot', 'if (limits.wanted > 1) stop()'],
  ['behind a question mark', 'config.dns?.wanted'],
  ['in a template', 'log(`${limits.wanted} open`)'],
  ['in a pattern', 'const { other, wanted } = limits'],
  ['in a pattern within another', 'const { ctx: { limits: { wanted } } } = this'],
  ['renamed', 'const { wanted: bytes } = limits'],
  ['in a parameter', 'function f({ wanted }: Limits): void {}'],
  ['in a parameter with a default', 'const f = ({ a, wanted = 3 }: Limits) => a'],
  ['in brackets', "limits['wanted']"],
  ['in a loop', 'for (const { wanted } of all) use(wanted)'],
  ['compared', 'a.wanted === 3'],
] as const)
  test(`a setting counts as read ${how}`, () => {
    assert.ok(namesRead(source).has('wanted'))
  })
