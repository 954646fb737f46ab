/** Who types a command gets a remedy for commands: nothing tries again for them, and no certificate of theirs is wrong. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { CATALOGUE, type ErrorCode } from '../../../core/errors.ts'

const ROOT = path.join(import.meta.dirname, '../../..')
/** What refuses an operator, at the terminal or through the console. */
const REFUSES = ['hub/cli', 'hub/console', 'hub/rollout', 'hub/reports/ask-device.ts', 'hub/enrollment/operator.ts']
const FOR_AGENTS =
  /\b(?:the|an) agent (?:is|tries|serves)|serves on|what xDS|certificate is for another|token create|state directory and/

function listSources(at: string): readonly string[] {
  const whole = path.join(ROOT, at)
  if (fs.statSync(whole).isFile()) return [whole]
  return fs.readdirSync(whole, { recursive: true, encoding: 'utf8' }).map((name) => path.join(whole, name))
}

test('every code with which a command is refused has a remedy for whoever types it', () => {
  const codes = new Map<string, string>()
  for (const file of REFUSES.flatMap(listSources).filter((name) => name.endsWith('.ts')))
    for (const [, code] of fs.readFileSync(file, 'utf8').matchAll(/new MeshError\(\s*'(MESH_\w+)'/g))
      codes.set(code!, path.relative(ROOT, file))
  assert.ok(codes.size > 10, 'the sources say how they refuse')
  const wrong = [...codes].filter(([code]) => FOR_AGENTS.test(CATALOGUE[code as ErrorCode].remedy))
  assert.deepEqual(wrong, [])
})
