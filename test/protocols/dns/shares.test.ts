import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { toAsker, toClient, Shares, type Share } from '../../../protocols/dns/shares.ts'

test('whoever comes finds room, however many places others took before', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 40 }), fc.array(fc.nat(5), { maxLength: 200 }), (max, comes) => {
      const shares = new Shares({ max, patienceMs: Infinity })
      const open = new Map<string, Set<Share>>()
      for (const n of comes) {
        const host = `10.0.0.${n}`
        const mine = open.get(host) ?? new Set<Share>()
        open.set(host, mine)
        const share: Share | undefined = shares.take({ client: host, purpose: '' }, 0, () => {
          mine.delete(share!)
        })
        if (share) mine.add(share)
      }
      assert.ok(shares.size <= max)
      assert.equal(
        [...open.values()].reduce((sum, all) => sum + all.size, 0),
        shares.size,
      )
      // Where everybody kept coming nobody has much less than another.
      assert.ok(
        shares.take({ client: '10.0.0.99', purpose: '' }, 0, () => {}) ?? max < open.size + 1,
        "a new client gets in unless every place is somebody's only one",
      )
    }),
  )
})
test('what was given back is free, once', () => {
  const shares = new Shares({ max: 1, patienceMs: Infinity })
  const one = shares.take({ client: 'a', purpose: '' }, 0, () => assert.fail('nobody needs it'))
  one![Symbol.dispose]()
  one![Symbol.dispose]()
  assert.equal(shares.size, 0)
  assert.ok(shares.take({ client: 'b', purpose: '' }, 0, () => {}))
  assert.equal(
    shares.take({ client: 'b', purpose: '' }, 0, () => {}),
    undefined,
  )
})
test('where nobody has more than others the purpose that has most gives way to another', () => {
  const shares = new Shares({ max: 4, patienceMs: Infinity })
  const ended: string[] = []
  for (const client of ['a', 'b', 'c', 'd'])
    shares.take({ client, purpose: 'silent.example' }, 0, () => {
      ended.push(client)
    })
  assert.equal(
    shares.take({ client: 'e', purpose: 'silent.example' }, 0, () => {}),
    undefined,
  )
  assert.ok(shares.take({ client: 'e', purpose: 'good.example' }, 0, () => {}))
  assert.deepEqual(ended, ['a'])
})
test('addresses of one IPv6 network are one client, an IPv4 address is itself in either form, and a program of this machine is its socket', () => {
  const of = (host: string, port = 1): string => toClient({ host, port })
  assert.equal(of('2001:db8::1'), of('2001:db8::2', 2))
  assert.notEqual(of('2001:db8::1'), of('2001:db8:0:1::1'))
  assert.equal(of('::ffff:10.0.0.1'), of('10.0.0.1'))
  assert.equal(toAsker({ host: '10.0.0.1', port: 1 }), toAsker({ host: '10.0.0.1', port: 2 }))
  assert.notEqual(toAsker({ host: '127.0.0.1', port: 1 }), toAsker({ host: '127.0.0.1', port: 2 }))
})
