import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import * as z from 'zod'
import { agentConfigSchema } from '../../agent/config/schema.ts'

type Json = {
  properties?: Record<string, Json>
  items?: Json
  anyOf?: Json[]
  oneOf?: Json[]
  additionalProperties?: Json | boolean
}

function settings(schema: Json): string[] {
  const inner = [
    ...Object.values(schema.properties ?? {}),
    ...(schema.items ? [schema.items] : []),
    ...(schema.anyOf ?? []),
    ...(schema.oneOf ?? []),
  ]
  return [...Object.keys(schema.properties ?? {}), ...inner.flatMap(settings)]
}

test('docs/configuration.md names every setting of agent.yaml', () => {
  const page = fs.readFileSync('docs/configuration.md', 'utf8')
  const all = new Set(settings(z.toJSONSchema(agentConfigSchema(), { io: 'input', unrepresentable: 'any' }) as Json))
  assert.ok(all.size > 60, `only ${all.size} settings found: the walk is broken`)
  assert.deepEqual(
    [...all].filter((name) => !new RegExp(`\\b${name}\\b`).test(page)),
    [],
  )
})
