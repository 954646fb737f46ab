/** header_key_format: names of fields as HTTP/1.1 peers want them. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { HeaderCase } from '../../../../model/http/header-case.ts'
import { writeHeaderCase } from '../../../../protocols/http/codec/header-case.ts'
import { cluster, Harness, manager, route } from '../harness.ts'

const PROPER: HeaderCase = { kind: 'proper' }
const keep = (others: 'lower' | 'proper'): HeaderCase => ({ kind: 'preserve', others })

test('proper_case_words: a capital behind whatever is neither a letter nor a digit', () => {
  const head =
    'GET /a: HTTP/1.1\r\nhost: a\r\nx-b3-traceid: x-y: z\r\nx_my.odd~name: \r\n9a-b: c\r\nwww-authenticate: x\r\n\r\n'
  assert.equal(
    writeHeaderCase(head, PROPER, undefined),
    'GET /a: HTTP/1.1\r\nHost: a\r\nX-B3-Traceid: x-y: z\r\nX_My.Odd~Name: \r\n9a-B: c\r\nWww-Authenticate: x\r\n\r\n',
  )
})
test('names of the other side stay as they were written; others are lower case, or proper', () => {
  const names = (others: 'lower' | 'proper') => ({ byName: new Map([['x-id', 'X-ID']]), others })
  const head = 'GET / HTTP/1.1\r\nx-id: 1\r\nx-ours: 2\r\n\r\n'
  assert.equal(writeHeaderCase(head, undefined, names('lower')), 'GET / HTTP/1.1\r\nX-ID: 1\r\nx-ours: 2\r\n\r\n')
  assert.equal(writeHeaderCase(head, PROPER, names('proper')), 'GET / HTTP/1.1\r\nX-ID: 1\r\nX-Ours: 2\r\n\r\n')
  assert.equal(writeHeaderCase(head, keep('proper'), undefined), head)
})

/** Through a listener and a cluster: the request as the endpoint gets it, and the answer as the client gets it. */
async function through(listener: HeaderCase | undefined, to: HeaderCase | undefined): Promise<[string, string]> {
  await using h = new Harness([cluster(undefined, { ...(to && { headerCase: to }) })])
  const origin = await h.origin()
  const client = h.connect(manager([route()], { ...(listener && { headerCase: listener }) }))
  await client.send('POST / HTTP/1.1\r\nHOST: a\r\nX-iD: 1\r\nx-Id: 2\r\nContent-LENGTH: 2\r\n\r\nhi')
  const asked = await origin.last.take()
  await origin.answer('HTTP/1.1 200 OK\r\nX-FROM: b\r\nContent-Length: 0\r\n\r\n')
  return [asked, await client.take()]
}
test('each side by itself', async () => {
  const [asked, answered] = await through(undefined, undefined)
  assert.match(asked, /\r\nhost: a\r\n.*x-id: 1\r\nx-id: 2\r\n.*content-length: 2\r\n/s)
  assert.match(answered, /\r\nx-from: b\r\n/)
  const [keptAsked, notKept] = await through(keep('lower'), undefined)
  assert.match(keptAsked, /\r\nHOST: a\r\n.*X-iD: 1\r\nX-iD: 2\r\n.*Content-LENGTH: 2\r\n/s)
  assert.match(notKept, /\r\nx-from: b\r\n/)
  const [lower, keptAnswer] = await through(undefined, keep('proper'))
  assert.match(lower, /\r\nx-id: 1\r\n/)
  assert.match(keptAnswer, /\r\nX-FROM: b\r\n.*Date: .*Content-Length: 0\r\n/s)
  const [properAsked, properAnswer] = await through(PROPER, PROPER)
  assert.match(properAsked, /\r\nHost: a\r\n.*X-Id: 1\r\nX-Id: 2\r\n/s)
  assert.match(properAnswer, /\r\nX-From: b\r\n/)
})
test('an answer of our own is proper where that is asked for, and lower case where names are kept', async () => {
  for (const [how, name] of [
    [PROPER, 'Content-Type'],
    [keep('proper'), 'content-type'],
  ] as const) {
    await using h = new Harness([cluster([])])
    const client = h.connect(manager([route()], { headerCase: how }))
    await client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    assert.match(await client.take(), new RegExp(`503 .*\r\n${name}: text/plain\r\n`, 's'))
  }
})
