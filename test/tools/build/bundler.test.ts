/** What the bundler puts in a package's place is still asked for, and reached by nothing that runs. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { REPLACED } from '../../../tools/build/bundler.ts'

for (const name of Object.keys(REPLACED))
  test(`${name} is a package of a dependency`, (t) => {
    const root = new URL('../../../', import.meta.url)
    const { packages } = JSON.parse(fs.readFileSync(new URL('package-lock.json', root), 'utf8')) as {
      packages: Record<string, { dependencies?: Record<string, string> }>
    }
    const askers = Object.keys(packages).filter((folder) => packages[folder]!.dependencies?.[name] !== undefined)
    t.diagnostic(`asked for by ${askers.join(', ')}`)
    assert.ok(askers.length > 0, 'nobody asks for it any more: take its row out of bundler.ts')
    assert.ok(!askers.includes(''), 'meshlet itself asks for it: the bundle would have it empty')
  })
