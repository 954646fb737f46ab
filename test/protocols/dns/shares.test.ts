import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { Shares, type Share } from '../../../protocols/dns/shares.ts'

test('whoever comes finds room, however many places others took before', () => {
  fc.assert(fc.property(fc.integer({ min: 2, max: 40 }), fc.array(fc.nat(5), { maxLength: 200 }), (max, comes) => {
    const shares = new Shares({ max, patienceMs: Infinity })
    const open = new Map<string, Set<Share>>()
    for (const n of comes) {
      const host = `10.0.0.${n}`
      const mine = open.get(host) ?? new Set<Share>()
      open.set(host, mine)
      const share: Share | undefined = shares.take(host, 0, () => { mine.delete(share!) })
      if (share) mine.add(share)
    }
    assert.ok(shares.size <= max)
    assert.equal([...open.values()].reduce((sum, all) => sum + all.size, 0), shares.size)
    // Where everybody kept coming nobody has much less than another.
    assert.ok(shares.take('10.0.0.99', 0, () => {}) ?? max < open.size + 1, 'a new client gets in unless every place is somebody\'s only one')
  }))
})
test('what was given back is free, once', () => {
  const shares = new Shares({ max: 1, patienceMs: Infinity })
  const one = shares.take('a', 0, () => assert.fail('nobody needs it'))
  one![Symbol.dispose]()
  one![Symbol.dispose]()
  assert.equal(shares.size, 0)
  assert.ok(shares.take('b', 0, () => {}))
  assert.equal(shares.take('b', 0, () => {}), undefined)
})
test('addresses of one IPv6 network are one client, and an IPv4 address is itself in either form', () => {
  const shares = new Shares({ max: 4, patienceMs: Infinity })
  const ended: string[] = []
  for (const host of ['2001:db8::1', '2001:db8::2', '2001:db8::3', '2001:db8:0:1::1']) shares.take(host, 0, () => { ended.push(host) })
  assert.ok(shares.take('::ffff:10.0.0.1', 0, () => {}))
  assert.deepEqual(ended, ['2001:db8::1'])
  assert.equal(shares.take('10.0.0.1', 0, () => {}), undefined)
})
