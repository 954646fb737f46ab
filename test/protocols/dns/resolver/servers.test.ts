import { test } from 'node:test'
import assert from 'node:assert/strict'
import { a, query } from '../../../helpers/dns.ts'
import { DnsSite, OTHER, SERVER } from '../site.ts'

const TWO = { upstreams: [SERVER, OTHER] }

test('the next server is asked when one refuses, is unreachable or silent; one that is silent twice is asked last for a while', async (t) => {
  const site = await DnsSite.start(t, TWO)
  const [first, second] = [
    await site.upstream(() => ({ rcode: 5 })),
    await site.upstream((name) => ({ answers: [a(name, '9.9.9.9')] }), OTHER),
  ]
  assert.match(await site.ask(query('a.example')), /9\.9\.9\.9/)
  site.sim.refuse(SERVER)
  assert.match(await site.ask(query('b.example')), /9\.9\.9\.9/)
  site.sim.restore(SERVER)
  site.sim.blackhole(SERVER)
  assert.match(await site.ask(query('c.example'), 2_000), /9\.9\.9\.9/)
  assert.match(await site.ask(query('d.example')), /9\.9\.9\.9/, 'it is not waited for any more')
  assert.deepEqual([first.asked.length, second.asked.length], [1, 4])
  site.sim.restore(SERVER)
  first.script = (name) => ({ answers: [a(name, '1.1.1.1')] })
  await site.clock.advance(30_000)
  assert.match(await site.ask(query('e.example')), /1\.1\.1\.1/, 'after a while it is asked first again')
  assert.deepEqual(
    ['answered', 'unreachable', 'timeout'].map((result) => site.tries({ result })),
    [6, 1, 1],
  )
})

test('a server that does not know EDNS is asked without it from then on (RFC 6891 §7)', async (t) => {
  const site = await DnsSite.start(t)
  const upstream = await site.upstream((name, { packet }) =>
    packet.additionals?.length ? { rcode: 1 } : { answers: [a(name, '9.9.9.9')] },
  )
  assert.match(await site.ask(query('a.example')), /9\.9\.9\.9/)
  assert.match(await site.ask(query('b.example')), /9\.9\.9\.9/)
  assert.equal(upstream.asked.length, 3)
})
