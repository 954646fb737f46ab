/**
 * What is in use is counted by leases (core/lease.ts), not by hand: a count that is lowered in one place is forgotten
 * in another.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'

/** Names of what is in use; a member of such a name that is lowered. */
const IN_USE =
  '(?:connections|requests|pending|retries|active|open|working|streams|sessions|held|starting|waiting|inFlight|calls|sources|places|used|busy)'
const LOWERED = new RegExp(`(?:[.#]${IN_USE}(?:--| -= )|--[\\w.#]*[.#]${IN_USE}\\b)`, 'gi')
/** Where else a count is lowered, and why no path can forget it there. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  'protocols/mqtt/topics/retained.ts': 'within the end of a place, which is disposable',
  'protocols/mqtt/session/session-shares.ts': 'with the session, as it leaves the map of all sessions',
  'hub/registry/live-devices.ts': 'within the end of a stream, which is disposable and counts once',
}
export function loweredByHand(text: string): string[] {
  return [...text.replaceAll(/\/\*[^]*?\*\/|\/\/.*$/gm, '').matchAll(LOWERED)].map((m) => m[0])
}

test('nothing in use is counted by hand', () => {
  const files = ['agent', 'protocols', 'hub', 'control-sync', 'model', 'proto', 'core']
    .flatMap((dir) => fs.globSync(`${dir}/**/*.ts`))
    .filter((f) => !f.includes('/gen/'))
  assert.ok(files.length > 200)
  const found = files.flatMap((file) => loweredByHand(fs.readFileSync(file, 'utf8')).map((what) => ({ file, what })))
  assert.deepEqual(
    found.filter(({ file }) => !(file in ELSEWHERE)),
    [],
  )
  assert.deepEqual(
    Object.keys(ELSEWHERE).filter((file) => !found.some((f) => f.file === file)),
    [],
    'an exception that nobody needs',
  )
})
test('the rule finds a count that is lowered by hand', () => {
  assert.deepEqual(
    loweredByHand('load.requests--; this.#active -= 1; if (--host.connections === 0) x(); // a.open--'),
    ['.requests--', '#active -= ', '--host.connections'],
  )
  assert.deepEqual(loweredByHand('for (let i = n; i--;) at--; left -= 2; entry.count--'), [])
})
