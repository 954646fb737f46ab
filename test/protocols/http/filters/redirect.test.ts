import { test } from 'node:test'
import assert from 'node:assert/strict'
import { redirectLocation, rewritePath } from '../../../../protocols/http/filters/redirect.ts'
import { compileRegex, type SafeRegex } from '../../../../core/regex.ts'
import type { PathMatch, PathRewrite, RouteMatch } from '../../../../model/route.ts'

const match = (path: PathMatch): RouteMatch => ({
  path,
  caseSensitive: true,
  headers: [],
  query: [],
  grpc: false,
  fraction: undefined,
})
const regex = (source: string): SafeRegex => compileRegex(source) as SafeRegex
const PREFIX = match({ kind: 'prefix', value: '/old' })

for (const { name, rewrite, on, path, want } of [
  { name: 'prefix', rewrite: { kind: 'prefix', value: '/new' }, on: PREFIX, path: '/old/a?b=c', want: '/new/a?b=c' },
  {
    name: 'prefix of a separated prefix',
    rewrite: { kind: 'prefix', value: '/new' },
    on: match({ kind: 'separated-prefix', value: '/old' }),
    path: '/old/a',
    want: '/new/a',
  },
  {
    name: 'prefix of an exact match takes the whole path',
    rewrite: { kind: 'prefix', value: '/new' },
    on: match({ kind: 'exact', value: '/old' }),
    path: '/old?x',
    want: '/new?x',
  },
  { name: 'full', rewrite: { kind: 'full', value: '/new' }, on: PREFIX, path: '/old/a?b', want: '/new?b' },
  {
    name: 'regex with a group, not in the query',
    rewrite: { kind: 'regex', regex: regex('/v([0-9])'), by: '/api/\\1' },
    on: PREFIX,
    path: '/v1/x?/v2',
    want: '/api/1/x?/v2',
  },
] satisfies { name: string; rewrite: PathRewrite; on: RouteMatch; path: string; want: string }[]) {
  test(`rewritePath: ${name}`, () => assert.equal(rewritePath(rewrite, on, path), want))
}

const REQUEST = { scheme: 'http', authority: 'a.example:80', path: '/old/x?q=1' }
const action = {
  kind: 'redirect',
  status: 301,
  scheme: undefined,
  host: undefined,
  port: undefined,
  path: undefined,
  stripQuery: false,
} as const
for (const { name, over, request, want } of [
  { name: 'to https drops the old default port', over: { scheme: 'https' }, want: 'https://a.example/old/x?q=1' },
  {
    name: 'to https keeps another port',
    over: { scheme: 'https' },
    request: { ...REQUEST, authority: 'a.example:8080' },
    want: 'https://a.example:8080/old/x?q=1',
  },
  { name: 'another host', over: { host: 'b.example' }, want: 'http://b.example/old/x?q=1' },
  { name: 'another port', over: { port: 8443, scheme: 'https' }, want: 'https://a.example:8443/old/x?q=1' },
  {
    name: 'the default port is written where it is said, as in Envoy',
    over: { port: 443, scheme: 'https' },
    want: 'https://a.example:443/old/x?q=1',
  },
  {
    name: 'IPv6 host with port',
    over: { port: 81 },
    request: { ...REQUEST, authority: '[2001:db8::1]:80' },
    want: 'http://[2001:db8::1]:81/old/x?q=1',
  },
  {
    name: 'full path keeps the query',
    over: { path: { kind: 'full', value: '/new' } },
    want: 'http://a.example:80/new?q=1',
  },
  {
    name: 'full path with its own query',
    over: { path: { kind: 'full', value: '/new?z' } },
    want: 'http://a.example:80/new?z',
  },
  { name: 'stripped query', over: { stripQuery: true }, want: 'http://a.example:80/old/x' },
  { name: 'prefix rewrite', over: { path: { kind: 'prefix', value: '/new' } }, want: 'http://a.example:80/new/x?q=1' },
] as { name: string; over: object; request?: typeof REQUEST; want: string }[]) {
  test(`redirectLocation: ${name}`, () =>
    assert.equal(redirectLocation({ ...action, ...over }, PREFIX, request ?? REQUEST), want))
}
