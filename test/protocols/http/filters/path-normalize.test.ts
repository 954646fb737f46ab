import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { normalizePath, type PathForm } from '../../../../protocols/http/filters/path-normalize.ts'
import { MeshError } from '../../../../core/errors.ts'

const BOTH = { normalizePath: true, mergeSlashes: true }
const DOTS = { normalizePath: true, mergeSlashes: false }
const SLASHES = { normalizePath: false, mergeSlashes: true }
const NEITHER = { normalizePath: false, mergeSlashes: false }

for (const { name, target, form, want } of [
  { name: 'nothing to do', target: '/a/b.c?x=/../y', form: BOTH, want: '/a/b.c?x=/../y' },
  { name: 'RFC 3986 §5.2.4 example', target: '/a/b/c/./../../g', form: DOTS, want: '/a/g' },
  { name: 'ends in a dot', target: '/a/.', form: DOTS, want: '/a/' },
  { name: 'ends in two dots', target: '/a/b/..', form: DOTS, want: '/a/' },
  { name: 'above the root stays at the root', target: '/../../a', form: DOTS, want: '/a' },
  { name: 'all of it goes', target: '/..', form: DOTS, want: '/' },
  { name: 'three dots are a name', target: '/.../.a/..b', form: DOTS, want: '/.../.a/..b' },
  { name: 'RFC 3986 §6.2.2.2 unreserved are unescaped', target: '/%41%7a%30%2D%5f%7E', form: DOTS, want: '/Az0-_~' },
  { name: 'escaped dots are dots', target: '/a/%2e%2E/b', form: DOTS, want: '/b' },
  { name: 'reserved escapes stay, case and all', target: '/a%2fb%2Fc%5c%3F', form: DOTS, want: '/a%2fb%2Fc%5c%3F' },
  { name: 'no double decoding', target: '/%252e%252e/a', form: DOTS, want: '/%252e%252e/a' },
  { name: 'the query is left alone', target: '/./a?b=%41/../c%', form: DOTS, want: '/a?b=%41/../c%' },
  { name: 'an empty segment is a segment', target: '/a//../b', form: DOTS, want: '/a/b' },
  { name: 'slashes merge', target: '//a///b//?x=//', form: SLASHES, want: '/a/b/?x=//' },
  { name: 'slashes merge after the dots, as in Envoy', target: '/a//../b', form: BOTH, want: '/a/b' },
  { name: 'slashes stay', target: '//a', form: DOTS, want: '//a' },
  { name: 'off is off', target: '/a/../%41//b', form: NEITHER, want: '/a/../%41//b' },
  { name: 'asterisk form', target: '*', form: BOTH, want: '*' },
  {
    name: 'what no URI has is escaped, as in Envoy: a rule about the one is about the other',
    target: '/"<>^`{|}?"<>^`{|}',
    form: DOTS,
    want: '/%22%3C%3E%5E%60%7B%7C%7D?"<>^`{|}',
  },
  { name: 'off is off for those, too', target: '/a|b', form: NEITHER, want: '/a|b' },
  {
    name: 'UNESCAPE_AND_FORWARD: before anything else',
    target: '/a%2f..%5Cb%2F%2fc?x=%2f',
    form: { ...BOTH, escapedSlashes: 'unescape' },
    want: '/b/c?x=%2f',
  },
  {
    name: 'UNESCAPE_AND_FORWARD alone',
    target: '/a%2f..%5Cb',
    form: { ...NEITHER, escapedSlashes: 'unescape' },
    want: '/a/..\\b',
  },
  {
    name: 'REJECT_REQUEST is about the path only',
    target: '/a%41?x=%2f',
    form: { ...NEITHER, escapedSlashes: 'refuse' },
    want: '/a%41?x=%2f',
  },
  { name: 'UTF-8 escapes stay', target: '/%C3%A9%E0%A4%B9', form: BOTH, want: '/%C3%A9%E0%A4%B9' },
] satisfies { name: string; target: string; form: PathForm; want: string }[])
  test(`normalizePath: ${name}`, () => assert.equal(normalizePath(target, form), want))

for (const target of [
  '/a\\b',
  '/a\0',
  '/a b',
  '/%',
  '/%4',
  '/%zz',
  '/%00',
  '/a/%c0%ae%c0%ae/b',
  '/%c1%9c',
  '/%e0%80%af',
  '/%f0%80%80%af',
  '/%ff',
  '/a#b',
  '/\x7f',
]) {
  test(`normalizePath refuses ${JSON.stringify(target)}`, () => {
    assert.throws(
      () => normalizePath(target, BOTH),
      (err) => err instanceof MeshError && err.code === 'MESH_MALFORMED_INPUT',
    )
  })
}

for (const target of ['/a%2fb', '/a%5Cb', '/%2F'])
  test(`path_with_escaped_slashes_action REJECT_REQUEST: ${target}`, () => {
    assert.throws(
      () => normalizePath(target, { ...NEITHER, escapedSlashes: 'refuse' }),
      (err) => err instanceof MeshError && err.code === 'MESH_MALFORMED_INPUT',
    )
  })

test('normalizing twice is normalizing once, and no dot segment or doubled slash is left', () => {
  const piece = fc.constantFrom('/', '.', '..', '%2e', '%2F', '%41', 'a', '%25', '//', '%2E%2e', '%c3%a9')
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const once = normalizePath('/' + pieces.join(''), BOTH)
      assert.equal(normalizePath(once, BOTH), once)
      assert.doesNotMatch(once, /\/\/|\/\.\.?(?:\/|$)/)
      assert.ok(once.startsWith('/'))
    }),
    { numRuns: 2000 },
  )
})
