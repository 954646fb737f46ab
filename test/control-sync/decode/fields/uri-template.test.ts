import { test } from 'node:test'
import assert from 'node:assert/strict'
import { compileTemplate } from '../../../../control-sync/decode/fields/uri-template.ts'

for (const { template, yes, no } of [
  { template: '/', yes: ['/'], no: ['/a', '//'] },
  { template: '/a/*', yes: ['/a/b', '/a/%2F', '/a/b;x=1', '/a/*'], no: ['/a', '/a/', '/a/b/', '/a/b/c', '/ab'] },
  { template: '/a/**', yes: ['/a/', '/a/b', '/a/b/c', '/a/b=1/*'], no: ['/a', '/b/a/b'] },
  { template: '/*/baz/**', yes: ['/a/baz/', '/a/baz/b/c'], no: ['/baz/', '/a/b/baz/c'] },
  { template: '/**/baz', yes: ['/a/baz', '/a/b/baz', '//baz'], no: ['/baz', '/a/baz/'] },
  { template: '/a/{id}/b', yes: ['/a/7/b'], no: ['/a//b', '/a/7/8/b'] },
  { template: '/{all=a/*/c}', yes: ['/a/b/c'], no: ['/a/b/d', '/a/c'] },
  { template: '/{all=**}.m3u8', yes: ['/a/b.m3u8', '/.m3u8'], no: ['/a/b.m3u9', '/axm3u8'] },
  { template: '/a/*/', yes: ['/a/b/'], no: ['/a/b'] },
  { template: '/a.(b)+$', yes: ['/a.(b)+$'], no: ['/ax(b)+$', '/a.bb'] },
]) {
  test(`the path template ${template}`, () => {
    const made = compileTemplate(template)
    assert.ok(typeof made === 'object')
    for (const path of yes) assert.equal(made.matchesAll(path), true, path)
    for (const path of no) assert.equal(made.matchesAll(path), false, path)
  })
}

for (const template of [
  '',
  'a',
  '/a b',
  '/a//b',
  '/ab*',
  '/*/a*/b',
  '/*.a/b',
  '/{*}',
  '/{**}',
  '/{}',
  '/{1}',
  '/{a',
  '/a}',
  '/{a=}',
  '/{a=/b}',
  '/{a=b/}',
  '/{a}/{a}',
  '/{a}/{b}/{c}/{d}/{e}/{f}',
  '/{abcdefghijklmnopq}',
  '/**/*',
  '/**/{a}',
  '/**/**',
  '/***',
  '/a=b',
  '/a?b',
]) {
  test(`no path template: ${template}`, () => assert.equal(typeof compileTemplate(template), 'string'))
}
