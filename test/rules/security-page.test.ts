import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'

const page = fs.readFileSync('SECURITY.md', 'utf8')
const promises = /^## What meshlet promises\n([^]*?)^## /m.exec(page)![1]!.split(/^- /m).slice(1)
/** A file's name alone stands for one whose folder was named before it. */
const namedIn = (text: string): string[] => [...text.matchAll(/[\w/.-]+\.ts\b/g)].map((m) => m[0])
const all = fs.globSync('test/**/*.ts')

test('every promise of SECURITY.md names the tests that hold it', () => {
  assert.ok(promises.length >= 10, 'the page is not read')
  assert.deepEqual(
    promises.filter((p) => namedIn(p).length === 0).map((p) => p.slice(0, 60)),
    [],
  )
})
test('the tests that SECURITY.md names are there', () => {
  assert.deepEqual(
    promises.flatMap(namedIn).filter((name) => !all.some((file) => file === name || file.endsWith(`/${name}`))),
    [],
  )
})
