import { test } from 'node:test'
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

const report = process.report.getReport() as { readonly header: { readonly glibcVersionRuntime?: string } }
const withoutGlibc =
  report.header.glibcVersionRuntime === undefined
    ? 'this machine has no glibc: another malloc gives back by itself'
    : false

test('what was freed between pieces that live goes back to the system', { skip: withoutGlibc }, async (t) => {
  const child = spawn(process.execPath, [`${import.meta.dirname}/malloc-trim-child.ts`, temporaryFolder(t)], {
    env: { ...process.env, MALLOC_ARENA_MAX: '1', MALLOC_TRIM_THRESHOLD_: '65536' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [said] = await Promise.all([text(child.stdout), once(child, 'exit')])
  const { fullMib, freedMib, trimmedMib } = JSON.parse(said) as Record<string, number>
  assert.ok(fullMib! - freedMib! < 30, `malloc gave back ${fullMib! - freedMib!} MiB by itself`)
  assert.ok(freedMib! - trimmedMib! > 60, `${freedMib} MiB became ${trimmedMib}`)
})
