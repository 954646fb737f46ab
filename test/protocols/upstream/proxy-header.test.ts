import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { ProxyHeader } from '../../../model/cluster.ts'
import { parseProxyHeader } from '../../../protocols/downstream/proxy-protocol.ts'
import type { ClientConnection } from '../../../protocols/upstream-api.ts'
import { writeProxyHeader } from '../../../protocols/upstream/proxy-header.ts'
import { cluster, endpoint, GET, Harness, OK, ORIGIN } from '../http/harness.ts'

const header = (more: Partial<ProxyHeader> = {}): ProxyHeader => ({ version: 2, passes: new Set(), added: [], ...more })
const OWN = { local: { host: '10.0.0.9', port: 9 }, remote: { host: '10.1.0.1', port: 80 } }
const client = (more: Partial<ClientConnection> = {}): ClientConnection => ({
  id: 'c',
  remote: { host: '192.0.2.1', port: 4711 },
  local: { host: '10.0.0.1', port: 80 },
  ...more,
})
const V6 = client({ remote: { host: '2001:db8::7', port: 1 }, local: { host: '2001:db8::1', port: 2 } })
const MIXED = client({ remote: { host: '2001:db8::7', port: 1 } })
const UNIX = client({ local: { host: '/run/a.sock', port: 0 } })
const line = (of: ClientConnection | undefined): string => writeProxyHeader(header({ version: 1 }), of, OWN).toString()

test('version 1 says client and destination; of nobody it says our own connection', () => {
  assert.equal(line(client()), 'PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n')
  assert.equal(line(V6), 'PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n')
  assert.equal(line(MIXED), 'PROXY TCP6 2001:db8::7 ::ffff:10.0.0.1 1 80\r\n')
  assert.equal(line(client({ meant: { host: '10.0.0.7', port: 81 } })), 'PROXY TCP4 192.0.2.1 10.0.0.7 4711 81\r\n')
  assert.equal(line(UNIX), 'PROXY UNKNOWN\r\n')
  assert.equal(line(undefined), 'PROXY TCP4 10.0.0.9 10.1.0.1 9 80\r\n')
})
test('version 2 is read by the reader as it was meant; of nobody it is LOCAL', () => {
  for (const one of [client(), V6, MIXED]) {
    const bytes = writeProxyHeader(header(), one, OWN)
    assert.deepEqual(parseProxyHeader(bytes), {
      source: one.remote,
      destination: one === MIXED ? { host: '10.0.0.1', port: 80 } : one.local,
      bytes: bytes.length,
    })
  }
  for (const one of [undefined, UNIX]) {
    const bytes = writeProxyHeader(header(), one, OWN)
    assert.deepEqual([parseProxyHeader(bytes), bytes[12]], [{ source: undefined, bytes: 16 }, 0x20])
  }
})
test("TLVs: the configured ones, then the client's that may pass", () => {
  const value = (text: string): Buffer => Buffer.from(text)
  const tlvs = [
    { type: 5, value: value('five') },
    { type: 7, value: value('seven') },
    { type: 240, value: value('forged') },
  ]
  const added = [
    { type: 240, value: value('ours') },
    { type: 240, value: value('again') },
  ]
  const written = (passes: ProxyHeader['passes'], of: ClientConnection = client({ tlvs })): string[] => {
    const found = parseProxyHeader(writeProxyHeader(header({ passes, added }), of, OWN))
    assert.ok(typeof found === 'object' && 'source' in found)
    return (found.tlvs ?? []).map((t) => `${t.type}=${Buffer.from(t.value).toString()}`)
  }
  assert.deepEqual(written('all'), ['240=ours', '240=again', '5=five', '7=seven'])
  assert.deepEqual(written(new Set([7, 240])), ['240=ours', '240=again', '7=seven'])
  assert.deepEqual(written(new Set()), ['240=ours', '240=again'])
  assert.deepEqual(written('all', client({ tlvs: [{ type: 5, value: Buffer.alloc(65_536 - 20) }] })), [])
})

const TOLD = { transport: { kind: 'plaintext', header: header({ version: 1 }) } } as const

test('an HTTP connection begins with the header, and is of no use to another client', async () => {
  await using h = new Harness([cluster([endpoint(ORIGIN.host, ORIGIN.port)], TOLD)])
  const origin = await h.origin()
  const [one, two] = [h.connect(), h.connect(undefined, { id: 'c2', remote: { host: '10.0.0.3', port: 6666 } })]
  await one.send(GET)
  assert.match(await origin.last.take(), /^PROXY TCP4 10\.0\.0\.2 10\.0\.0\.1 5555 80\r\nGET \/ /)
  await origin.answer(OK)
  await one.send(GET)
  assert.match(await origin.last.take(), /^GET /, 'the same client uses its connection again')
  await origin.answer(OK)
  await two.send(GET)
  assert.equal(origin.connections.length, 2)
  assert.match(await origin.last.take(), /^PROXY TCP4 10\.0\.0\.3 10\.0\.0\.1 6666 80\r\nGET \/ /)
  await origin.answer(OK)
  assert.match(await two.take(), /200 OK/)
})
test('connections that only one client can use do not stay for long', async () => {
  await using h = new Harness([cluster([endpoint(ORIGIN.host, ORIGIN.port)], { ...TOLD, idleMs: 3_600_000 })])
  const origin = await h.origin()
  await h.connect().send(GET)
  await origin.answer(OK)
  await h.clock.advance(59_000)
  assert.equal(origin.last.ended, false)
  await h.clock.advance(3_000)
  await origin.last.take()
  assert.equal(origin.last.ended || origin.last.closed, true)
})
