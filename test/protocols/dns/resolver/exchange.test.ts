import { test } from 'node:test'
import assert from 'node:assert/strict'
import { a, query } from '../../../helpers/dns.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import { DnsSite } from '../site.ts'

const www = 'www.example.com'

test('a lost datagram is sent again; with no answer at all the client hears SERVFAIL', async (t) => {
  const site = await DnsSite.start(t)
  const upstream = await site.upstream(() => undefined)
  const answers = await site.send(query(www))
  await site.clock.advance(3_999)
  assert.deepEqual([answers.length, upstream.asked.length], [0, 2])
  await site.clock.advance(1)
  assert.equal(answers.length, 1)
  assert.equal(site.count({ source: 'failed', rcode: 'SERVFAIL' }), 1)
  assert.notEqual(upstream.ids[0], upstream.ids[1])
  assert.notEqual(upstream.ports[0], upstream.ports[1], 'each try has a port of its own')
})

test('the sockets of a try that was given up are closed at once', async (t) => {
  const site = await DnsSite.start(t, { maxInFlight: 2 })
  await site.upstream(() => undefined)
  await Promise.all(Array.from({ length: 2 }, (_, i) => site.send(query(`silent${i}.example`), '10.1.1.1')))
  await settle()
  const before = site.sim.udpSockets
  await site.send(query('other.example'), '10.1.1.2')
  await settle()
  assert.equal(site.sim.udpSockets, before + 1, 'one of the client, one of the try instead of another')
  assert.equal(site.tries({ result: 'cancelled' }), 1)
})

test('a cut answer is asked for again over TCP and given whole, or cut to what the client takes', async (t) => {
  const site = await DnsSite.start(t)
  const addresses = Array.from({ length: 60 }, (_, i) => `10.0.0.${i}`)
  const upstream = await site.upstream((name, { over }) =>
    over === 'udp' ? { flags: 0x380, answers: [a(name, '10.0.0.0')] } : { answers: addresses.map((x) => a(name, x)) },
  )
  const whole = await site.ask(query(www, 'A', { udpBytes: 4_096 }))
  assert.match(whole, /^NOERROR tc, /, 'dns-packet, which is the upstream here, compresses no names')
  assert.deepEqual(upstream.asked, [`${www} A udp`, `${www} A tcp`])
  assert.ok(whole.split(', ').length > 20)
})

test('an answer with another id or question is waited past: the right one counts (RFC 5452 §9.1)', async (t) => {
  const site = await DnsSite.start(t)
  let wrong: 'id' | 'question' = 'id'
  await site.upstream((name) => ({
    answers: [a(name, '6.6.6.6')],
    raw: (bytes) => {
      const out = Buffer.from(bytes)
      if (wrong === 'id') out[0] = out[0]! ^ 1
      else out[13] = out[13]! ^ 2
      return out
    },
  }))
  for (wrong of ['id', 'question'] as const) {
    const answers = await site.send(query(`${wrong}.example`))
    await site.clock.advance(1_000)
    assert.equal(answers.length, 0)
    await site.clock.advance(10_000)
    assert.equal(answers.length, 1)
  }
  assert.equal(site.count({ source: 'failed' }), 2)
})

test("what comes from another address than the server's is not heard", async (t) => {
  const site = await DnsSite.start(t)
  const upstream = await site.upstream(() => undefined)
  const answers = await site.send(query(www))
  await settle()
  const spoofer = await site.sim.bindUdp({ host: '6.6.6.6', port: 53 }, { onDatagram: () => {}, onError: () => {} })
  const forged = Buffer.from(query(www, 'A', { id: upstream.ids[0]!, flags: 0x8180 }))
  forged[2] = 0x81
  spoofer.send(forged, { host: '10.0.0.99', port: upstream.ports[0]! })
  await settle()
  assert.equal(answers.length, 0)
})
