/** One word for one thing: a word that was replaced does not come back; ARCHITECTURE.md has a glossary. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { bannedIn, identifiersOf, wordsOf } from './checks/words.ts'

const files = ['agent', 'control-sync', 'core', 'demo', 'hub', 'model', 'proto', 'protocols', 'test', 'tools']
  .flatMap((dir) => fs.globSync(`${dir}/**/*.{ts,mjs,cjs}`))
  .filter((file) => !file.startsWith('proto/gen/'))

test('no identifier and no name of a file uses a word for which another stands', () => {
  assert.ok(files.length > 500, `only ${files.length} files found: the walk is broken`)
  const found = files.flatMap((file) =>
    [...identifiersOf(fs.readFileSync(file, 'utf8')), file].flatMap(bannedIn).map((word) => `${file}: ${word}`),
  )
  assert.deepEqual(found, [])
})

for (const [identifier, word] of [
  ['oncePer', 'once per'],
  ['#ownConnections', 'own connections'],
  ['OWN_CONNECTIONS', 'own connections'],
  ['ownConnectionsOf', 'own connections'],
  ['HTTPClient', 'http client'],
  ['core/once-per.ts', 'once per'],
  ['Live', 'Live'],
  ['#mendedMs', 'mended'],
] as const)
  test(`the rule finds the word in ${identifier}`, () => {
    assert.match(bannedIn(identifier)[0] ?? '', new RegExp(`^${word} → `))
  })

for (const identifier of ['liveDevices', 'httpClients', 'tokenInfo', 'forests', 'ownConnection', 'recheckMs'])
  test(`the rule leaves ${identifier} alone`, () => {
    assert.deepEqual(bannedIn(identifier), [])
  })

test('identifiers are read from code, not from comments, strings, regular expressions and the text of templates', () => {
  const source = `
    // oncePer in a comment
    /* and oncePer here */
    const a = 'oncePer' + "it's oncePer" + \`oncePer \${inTemplate + \`\${nested}\`} oncePer \${ { b: c } }\`
    const r = x.replace(/oncePer['\`"/]oncePer/g, y) / z
  `
  assert.deepEqual([...identifiersOf(source)].toSorted(), [
    'a',
    'b',
    'c',
    'const',
    'inTemplate',
    'nested',
    'r',
    'replace',
    'x',
    'y',
    'z',
  ])
})
test('an identifier is read as words', () => {
  assert.deepEqual(wordsOf('#toHTTPClient2Of_MAX_BYTES'), ['to', 'http', 'client', 'of', 'max', 'bytes'])
})
