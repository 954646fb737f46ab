/** UNESCAPE_AND_REDIRECT: a client is told the path that we read. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { HttpConnectionManager } from '../../../../../model/listener.ts'
import { Harness, manager, route } from '../../harness.ts'

async function ask(
  target: string,
  more = '',
  set: Partial<HttpConnectionManager> = {},
  field = 'location',
): Promise<string> {
  await using h = new Harness()
  await h.origin()
  const client = h.connect(manager([route()], { escapedSlashes: 'redirect', mergeSlashes: false, ...set }))
  await client.send(`GET ${target} HTTP/1.1\r\nhost: a\r\n${more}\r\n`)
  const answer = await client.take()
  return `${/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1] ?? 'nothing'} ${new RegExp(`${field}: (.*)\\r`).exec(answer)?.[1] ?? ''}`.trim()
}

test('an escaped slash of the path leads to a redirect to its normal form, query included', async () => {
  assert.equal(await ask('/a%2Fb%5cc/../d?x=%2f'), '307 /a/b/d?x=%2f')
})
test('without one in the path the request goes on', async () => {
  assert.equal(await ask('/a/b?x=%2f'), 'nothing')
})
test('gRPC follows no redirect, and nobody is led to another server', async () => {
  assert.equal(await ask('/a%2fb', 'content-type: application/grpc\r\n'), '200')
  for (const target of ['/%2fevil.test', '/%5cevil.test', '/x/..%2f%2fevil.test'])
    assert.equal(await ask(target), '400', target)
})
test('header_mutation changes the redirect, as in Envoy', async () => {
  const add = { name: 'x-m', value: '%PROTOCOL%', how: 'append' } as const
  const mutations = { request: [], response: [{ remove: [], add: [add] }] }
  const filters = [{ kind: 'mutation', name: 'm', mutations, nearestWins: false }] as const
  assert.equal(await ask('/a%2fb', '', { filters }, 'x-m'), '307 HTTP/1.1')
})
