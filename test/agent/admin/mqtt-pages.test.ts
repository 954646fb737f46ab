import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createMqttPages, formatMqtt } from '../../../agent/admin/mqtt-pages.ts'
import { TestBroker } from '../../helpers/mqtt/broker.ts'

async function rig(...clientIds: readonly string[]) {
  const t = new TestBroker()
  for (const clientId of clientIds) {
    const peer = t.open()
    await peer.connect({ clientId, properties: { sessionExpirySec: 9 } })
    await peer.subscribe('a/#', { qos: 1 })
    peer.publish(`a/${encodeURIComponent(clientId)}`, 'text', { retain: true })
    await peer.seen()
  }
  const pages = new Map(createMqttPages(t.broker.operations))
  const ask = async (path: string): Promise<{ status: number; body: string }> => {
    const url = new URL(path, 'http://a')
    const { status = 200, body } = await pages.get(url.pathname)!.handle(url.searchParams)
    return { status, body }
  }
  return { t, pages, ask }
}
type List = { total: number; next?: string; items: Record<string, unknown>[] }

test('what shows is GET, what ends something is POST', async () => {
  const { pages } = await rig()
  assert.deepEqual(
    [...pages].map(([path, { method }]) => `${method} ${path}`),
    [
      'GET /mqtt/clients',
      'GET /mqtt/sessions',
      'GET /mqtt/queues',
      'GET /mqtt/retained',
      'POST /mqtt/kick',
      'POST /mqtt/purge',
    ],
  )
})

test('JSON in pages: what is next is asked for with ?after=', async () => {
  const { ask } = await rig('c3', 'c1', 'c2', 'other')
  const first = JSON.parse((await ask('/mqtt/clients?limit=2&prefix=c')).body) as List
  assert.deepEqual([first.total, first.next, first.items.map((one) => one['clientId'])], [3, 'c2', ['c1', 'c2']])
  const second = JSON.parse((await ask('/mqtt/clients?limit=2&prefix=c&after=c2')).body) as List
  assert.deepEqual([second.next, second.items.map((one) => one['clientId'])], [undefined, ['c3']])
  for (const limit of ['0', '1001', 'x', '1.5']) assert.equal((await ask(`/mqtt/clients?limit=${limit}`)).status, 400)
})

test('a client id that would command a terminal is written as what it is, and stays what it is', async () => {
  const evil = 'x\u001b[2J\u202ey\u0085'
  const { ask, t } = await rig(evil)
  for (const page of ['clients', 'sessions', 'queues']) {
    for (const format of ['json', 'text']) {
      const { body } = await ask(`/mqtt/${page}?format=${format}`)
      assert.doesNotMatch(body.replaceAll('\n', ''), /[\p{Cc}\u202e]/u, page)
      assert.match(body, /x\\u001b\[2J\\u202ey\\u0085/)
    }
  }
  const { items } = JSON.parse((await ask('/mqtt/clients')).body) as List
  assert.equal(items[0]?.['clientId'], evil)
  assert.equal(
    (await ask(`/mqtt/kick?id=${encodeURIComponent(evil)}`)).body,
    'disconnected x\\u001b[2J\\u202ey\\u0085\n',
  )
  assert.equal(t.broker.operations.clients({ prefix: '', after: undefined, limit: 1 }).total, 0)
})

test('a table of text has a line of names and how many there are', async () => {
  const { ask } = await rig('c1', 'c2')
  const lines = (await ask('/mqtt/sessions?format=text&limit=1')).body.split('\n')
  assert.match(lines[0]!, /^clientId +owner +address +isConnected/)
  assert.match(lines[1]!, /^c1 +- +127\.0\.0\.1 +yes/)
  assert.equal(lines[2], '1 of 2, the next after "c1"')
  assert.equal((await ask('/mqtt/queues?format=text&prefix=no')).body, '0 of 0\n')
})

test('retained messages by filter; payloads only when asked for', async () => {
  const { ask } = await rig('c1')
  const text = (await ask('/mqtt/retained?filter=a/%2B')).body
  assert.deepEqual((JSON.parse(text) as List).items, [{ topic: 'a/c1', qos: 0, bytes: 4 }])
  assert.match((await ask('/mqtt/retained?payload=1')).body, /"payload": "dGV4dA=="/)
  assert.equal((await ask('/mqtt/retained?filter=a%23')).status, 400)
})

test('kick and purge say what they did, and what there was not', async () => {
  const { ask, t } = await rig('c1', 'c2')
  for (const [path, status, body] of [
    ['/mqtt/kick', 400, /client id/],
    ['/mqtt/kick?id=nobody', 404, /no client nobody is connected/],
    ['/mqtt/kick?id=c1', 200, /disconnected c1/],
    ['/mqtt/purge', 400, /one of/],
    ['/mqtt/purge?session=c1&retained=%23', 400, /one of/],
    ['/mqtt/purge?session=nobody', 404, /no session nobody/],
    ['/mqtt/purge?session=c2', 200, /ended session c2/],
    ['/mqtt/purge?queue=nothing', 404, /no queue nothing/],
    ['/mqtt/purge?queue=session/c1', 200, /deleted 0 messages from session\/c1/],
    ['/mqtt/purge?retained=a%23', 400, /no topic filter/],
    ['/mqtt/purge?retained=%23', 200, /deleted 2 retained messages/],
  ] as const) {
    const said = await ask(path)
    assert.equal(said.status, status, path)
    assert.match(said.body, body, path)
  }
  assert.equal(t.broker.stats.retained, 0)
})

test('the page of everything has a line about MQTT and the fullest queues', async () => {
  const { t } = await rig('c1')
  const pub = t.open()
  await pub.connect({ clientId: 'pub' })
  t.broker.operations.kick('c1')
  pub.publish('a/x', 'waits', { qos: 1, packetId: 1 })
  await pub.seen()
  const text = formatMqtt(t.broker.operations, t.broker.stats)
  assert.match(text, /^MQTT: 1 clients connected, 2 sessions, 1 retained messages, 1 queues\n/)
  assert.match(text, /\n {2}session\/c1: 1 messages, \d+ bytes\n$/)
})
