import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { StatefulSession, SessionKept } from '../../../../model/http/session.ts'
import { MessageWriter } from '../../../../protocols/protobuf/message.ts'
import { editHeaders } from '../../../../protocols/http/filters/header-edit.ts'
import { facts } from '../../../helpers/substitution-facts.ts'
import { createSessionEdit, findSession, tellSession } from '../../../../protocols/http/filters/session.ts'
import { cluster, endpoint, Harness, manager, OK, route, type Origin } from '../harness.ts'

type Cookie = Extract<SessionKept, { in: 'cookie' }>
const cookie = (more: Partial<Cookie> = {}, strict: Partial<StatefulSession> = {}): StatefulSession => ({
  kept: { in: 'cookie', name: 's', ttlSec: 0, path: '', attributes: [], ...more },
  isStrict: false,
  ...strict,
})
const HEADER: StatefulSession = { kept: { in: 'header', name: 'x-session' }, isStrict: false }
const request = (headers: Readonly<Record<string, string>> = {}, path = '/'): Parameters<typeof findSession>[1] => ({
  path,
  method: 'GET',
  scheme: 'http',
  authority: 'a',
  header: (name: string) => headers[name],
})
const base64 = (text: string | Buffer): string => Buffer.from(text).toString('base64')
const message = (address: string, expires = 0): string =>
  base64(new MessageWriter().text(1, address).integer(2, expires).finish())
const ONE = { address: '10.1.0.1', port: 8080 }
const TWO = { address: '10.1.0.2', port: 8080 }
const NOW_MS = 1_000_000_000

const addressIn = (settings: StatefulSession, headers: Readonly<Record<string, string>>): string | undefined =>
  findSession(settings, request(headers), NOW_MS)?.address

test('the address of a session: of a cookie that has not expired, of a header', () => {
  assert.equal(addressIn(cookie(), { cookie: `a=b; s="${message('10.1.0.2:8080')}"` }), '10.1.0.2:8080')
  assert.equal(addressIn(cookie(), { cookie: `s=${message('[::1]:80', NOW_MS / 1000 + 1)}` }), '[::1]:80')
  assert.equal(addressIn(cookie(), { cookie: `s=${message('10.1.0.2:8080', NOW_MS / 1000 - 1)}` }), undefined)
  assert.equal(addressIn(HEADER, { 'x-session': base64('10.1.0.2:8080') }), '10.1.0.2:8080')
  assert.equal(
    addressIn(cookie(), { cookie: `s=${base64('127.0.0.1:44379')}` }),
    '127.0.0.1:44379',
    'as Envoy wrote it once',
  )
})
test('the answer tells the endpoint where it is made, and nothing where nobody has answered', () => {
  for (const [settings, want] of [
    [cookie(), 2],
    [HEADER, 1],
  ] as const) {
    const session = findSession(settings, request(), NOW_MS)!
    const edit = createSessionEdit(session)
    const { name } = edit.add[0]!
    const headers = [name, 'before']
    editHeaders(headers, [edit], facts)
    assert.deepEqual(headers, [name, 'before'])
    session.served = { by: ONE, nowMs: NOW_MS }
    editHeaders(headers, [edit], facts)
    assert.equal(headers.filter((one) => one === name).length, want)
    assert.equal(headers.at(-1), tellSession(session, ONE, NOW_MS)![1])
  }
})
test('whatever else a client writes there is no address', () => {
  for (const value of [
    '',
    '!',
    '%%%',
    base64('\u0001'),
    base64('\n\u00ff'),
    base64('x'.repeat(5_000)),
    message('x'.repeat(500)),
  ])
    assert.equal(addressIn(cookie(), { cookie: `s=${value}` }), undefined, value)
  for (const value of ['', '!', base64('x'.repeat(5_000))])
    assert.equal(addressIn(HEADER, { 'x-session': value }), undefined)
  for (let i = 0; i < 500; i++) {
    const bytes = Buffer.from(Array.from({ length: i % 30 }, (_, j) => (i * 31 + j * 57) % 256))
    assert.doesNotThrow(() => addressIn(cookie(), { cookie: `s=${base64(bytes)}` }))
  }
})
test('requests to other paths belong to no session (RFC 6265, section 5.1.4)', () => {
  const within = (path: string, target: string): boolean =>
    findSession(cookie({ path }), request({}, target), NOW_MS) !== undefined
  for (const [path, target, is] of [
    ['', '/x', true],
    ['/', '/x', true],
    ['/a', '/a', true],
    ['/a', '/a?b', true],
    ['/a', '/a/b', true],
    ['/a', '/ab', false],
    ['/a/', '/a/b', true],
    ['/a/', '/a', false],
    ['/a', '/b', false],
  ] as const)
    assert.equal(within(path, target), is, `${path} ${target}`)
})
test('the answer tells the endpoint unless the client has it', () => {
  const told = (settings: StatefulSession, headers = {}): unknown =>
    tellSession(findSession(settings, request(headers), NOW_MS)!, ONE, NOW_MS)
  assert.deepEqual(told(cookie()), ['set-cookie', `s="${message('10.1.0.1:8080')}"; HttpOnly`])
  const attributes = [
    ['SameSite', 'Strict'],
    ['Secure', ''],
  ] as const
  assert.deepEqual(told(cookie({ ttlSec: 60, path: '/', attributes })), [
    'set-cookie',
    `s="${message('10.1.0.1:8080', NOW_MS / 1000 + 60)}"; Max-Age=60; Path=/; SameSite=Strict; Secure; HttpOnly`,
  ])
  assert.deepEqual(told(HEADER), ['x-session', base64('10.1.0.1:8080')])
  assert.equal(told(cookie(), { cookie: `s=${message('10.1.0.1:8080')}` }), undefined)
  assert.deepEqual(told(HEADER, { 'x-session': base64('10.1.0.2:8080') }), ['x-session', base64('10.1.0.1:8080')])
})

async function serve(session: StatefulSession, two: Parameters<typeof endpoint>[2] = {}, more = {}) {
  const h = new Harness([
    cluster([endpoint(ONE.address, ONE.port), endpoint(TWO.address, TWO.port, two)], { panicPercent: 0, ...more }),
  ])
  const [one, two_] = [
    await h.origin({ host: ONE.address, port: ONE.port }),
    await h.origin({ host: TWO.address, port: TWO.port }),
  ]
  const http = manager([route()], { filters: [{ kind: 'session', name: 'f', session }] })
  const ask = async (headers: string): Promise<{ readonly served: string; readonly answer: string }> => {
    const client = h.connect(http)
    await client.send(`GET / HTTP/1.1\r\nhost: a\r\n${headers}connection: close\r\n\r\n`)
    const got = async (origin: Origin): Promise<boolean> =>
      origin.connections.length > 0 && (await origin.last.take()) !== ''
    const served = (await got(one)) ? 'one' : (await got(two_)) ? 'two' : 'nobody'
    await (served === 'one' ? one : served === 'two' ? two_ : undefined)?.answer(OK)
    return { served, answer: await client.take() }
  }
  return { h, ask }
}
const cookieOf = (address: string): string => `cookie: s=${message(address)}\r\n`

test('requests of a session go to its endpoint, and the answer says nothing new', async () => {
  const { h, ask } = await serve(cookie())
  await using _ = h
  for (let i = 0; i < 6; i++) {
    const { served, answer } = await ask(cookieOf('10.1.0.2:8080'))
    assert.deepEqual([served, /set-cookie/.test(answer)], ['two', false])
  }
  const first = await ask('')
  assert.match(first.answer, /set-cookie: s="/)
})
test('an address that is no endpoint of the cluster is never connected to', async () => {
  for (const foreign of [
    '169.254.169.254:80',
    '127.0.0.1:15000',
    '10.1.0.2:22',
    '10.1.0.2',
    '__proto__',
    'origin:8080',
  ]) {
    const free = await serve(cookie())
    await using _ = free.h
    assert.match((await free.ask(cookieOf(foreign))).served, /one|two/)
    const strict = await serve(cookie({}, { isStrict: true }))
    await using __ = strict.h
    const { served, answer } = await strict.ask(cookieOf(foreign))
    assert.equal(served, 'nobody')
    assert.match(answer, /^HTTP\/1\.1 503/)
  }
})
test('an endpoint that may not serve is asked only where the cluster says so (override_host_status)', async () => {
  const gone = await serve(cookie(), { health: 'draining' })
  await using _ = gone.h
  assert.equal((await gone.ask(cookieOf('10.1.0.2:8080'))).served, 'one')
  const kept = await serve(cookie(), { health: 'draining' }, { wantedMayBe: new Set(['healthy', 'draining']) })
  await using __ = kept.h
  assert.equal((await kept.ask(cookieOf('10.1.0.2:8080'))).served, 'two')
})
test('the status of an answer to a strict session whose endpoint is gone', async () => {
  const { h, ask } = await serve(cookie({}, { isStrict: true, notFoundStatus: 410 }))
  await using _ = h
  assert.match((await ask(cookieOf('10.9.9.9:1'))).answer, /^HTTP\/1\.1 410/)
})
