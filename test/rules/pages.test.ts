/** Pages for people keep their shape: short, complete, and every link leads somewhere. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { readPage, replaceTable } from '../conformance/istiod/tasks/table.ts'
import { TASKS } from '../conformance/istiod/tasks/tasks.ts'
import fs from 'node:fs'
import path from 'node:path'

const MAX_WORDS = 1_200
const MAX_GLOSSARY = 40

const pages = ['*.md', 'docs/**/*.md', 'deploy/**/*.md', 'proto/*.md', 'test/**/*.md'].flatMap((pattern) =>
  fs.globSync(pattern),
)
const architecture = fs.readFileSync('ARCHITECTURE.md', 'utf8')

test(`ARCHITECTURE.md has at most ${MAX_WORDS} words, its glossary at most ${MAX_GLOSSARY}`, () => {
  const words = architecture.split(/\s+/).filter((word) => word !== '').length
  assert.ok(words <= MAX_WORDS, `${words} words`)
  const [, glossary = ''] = architecture.split('## Glossary')
  const terms = glossary.match(/^\| (?!word )[a-z].*\|$/gm) ?? []
  assert.ok(terms.length > 10 && terms.length <= MAX_GLOSSARY, `${terms.length} terms`)
})

test('a decision says its context, what was decided, and the consequence', () => {
  for (const page of fs.globSync('docs/decisions/*.md'))
    assert.deepEqual(
      fs.readFileSync(page, 'utf8').match(/^## .*/gm),
      ['## Context', '## Decision', '## Consequence'],
      page,
    )
})

test('docs/README.md leads to every page of docs', () => {
  const index = fs.readFileSync('docs/README.md', 'utf8')
  const missing = fs.globSync('docs/**/*.md').filter((page) => !index.includes(`(${path.relative('docs', page)}`))
  assert.deepEqual(missing, ['docs/README.md'])
})

test('a link to a file leads to one', () => {
  assert.ok(pages.length > 30, `only ${pages.length} pages found: the walk is broken`)
  const broken = pages.flatMap((page) =>
    [...fs.readFileSync(page, 'utf8').matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)]
      .map(([, to]) => to!)
      .filter((to) => !fs.existsSync(path.join(path.dirname(page), to)))
      .map((to) => `${page}: ${to}`),
  )
  assert.deepEqual(broken, [])
})

const security = fs.readFileSync('SECURITY.md', 'utf8')
const promises = /^## What meshlet promises\n([^]*?)^## /m.exec(security)![1]!.split(/^- /m).slice(1)
/** A file's name alone stands for one whose folder was named before it. */
const namedIn = (text: string): string[] => [...text.matchAll(/[\w/.-]+\.ts\b/g)].map((m) => m[0])
const tests = fs.globSync('test/**/*.ts')

test('every promise of SECURITY.md names the tests that hold it', () => {
  assert.ok(promises.length >= 10, 'the page is not read')
  assert.deepEqual(
    promises.filter((p) => namedIn(p).length === 0).map((p) => p.slice(0, 60)),
    [],
  )
})
test('the tests that SECURITY.md names are there', () => {
  assert.deepEqual(
    promises.flatMap(namedIn).filter((name) => !tests.some((file) => file === name || file.endsWith(`/${name}`))),
    [],
  )
})

test("docs/istio.md has what is written down of each of Istio's tasks", () => {
  assert.equal(readPage(), replaceTable(readPage(), TASKS), 'run `npm run test:tasks -- --write`')
})
test("one of Istio's tasks is tried, another test is named that is there, or a reason why it is not", () => {
  assert.equal(new Set(TASKS.map((t) => t.name)).size, TASKS.length)
  for (const { name, checks, shownBy, reason } of TASKS)
    assert.ok(shownBy ? fs.existsSync(shownBy[0]) : checks.length > 0 !== (reason !== undefined), name)
})
