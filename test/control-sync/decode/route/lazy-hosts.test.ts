import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { VirtualHost } from '../../../../model/route.ts'
import { LazyHosts, type Span } from '../../../../control-sync/decode/route/lazy-hosts.ts'

/** VirtualHost.domains (field 2) and nothing else. */
const hostBytes = (...domains: string[]): Buffer =>
  Buffer.concat(domains.flatMap((d) => [Buffer.from([0x12, d.length]), Buffer.from(d)]))

function hostsOf(...hosts: Buffer[]) {
  const table = Buffer.concat(hosts)
  const spans: Span[] = []
  let from = 0
  for (const host of hosts) {
    spans.push({ from, to: from + host.length })
    from += host.length
  }
  const decoded: number[] = []
  const lazy = new LazyHosts(spans, {
    view: () => table,
    decode: (bytes, no) => {
      decoded.push(no)
      assert.deepEqual(Buffer.from(bytes), hosts[no], 'the host is given its own bytes')
      return { name: `host ${no}` } as VirtualHost
    },
  })
  return { lazy, decoded, nameOf: (domain: string) => lazy.exact(domain)?.value?.name }
}

test('a host is found by each of its domains, in lower case, and decoded once, when it is asked for', () => {
  const { lazy, decoded, nameOf } = hostsOf(hostBytes('A.example', 'a.example:80'), hostBytes('b.example'))
  lazy.addAll()
  assert.deepEqual(decoded, [])
  assert.deepEqual(
    [nameOf('a.example'), nameOf('a.example:80'), nameOf('b.example'), nameOf('c.example')],
    ['host 0', 'host 0', 'host 1', undefined],
  )
  assert.deepEqual(decoded, [0, 1])
  assert.equal(lazy.exact('a.example'), lazy.exact('a.example:80'))
})

test('of two hosts with one domain the first has it', () => {
  const { lazy, nameOf } = hostsOf(hostBytes('x'), hostBytes('x'))
  lazy.addAll()
  assert.equal(nameOf('x'), 'host 0')
})

test('domains of one hash are told apart by the bytes of their hosts', () => {
  // FNV-1a of 32 bits: these two collide.
  const [one, other] = ['costarring', 'liquid']
  const { lazy, nameOf } = hostsOf(hostBytes(one!), hostBytes(other!))
  lazy.addAll()
  assert.deepEqual([nameOf(one!), nameOf(other!)], ['host 0', 'host 1'])
  const alone = hostsOf(hostBytes(one!))
  alone.lazy.addAll()
  assert.equal(alone.nameOf(other!), undefined)
})

test('wildcards are listed in the order of their hosts and found by no exact name', () => {
  const { lazy, nameOf } = hostsOf(hostBytes('*.b', 'a'), hostBytes('*'))
  lazy.addAll()
  assert.deepEqual(
    lazy.wildcards.map(([domain, host]) => [domain, host.value?.name]),
    [
      ['*.b', 'host 0'],
      ['*', 'host 1'],
    ],
  )
  assert.equal(nameOf('*.b'), undefined)
})

test('a host that is known already is not decoded', () => {
  const { lazy, decoded } = hostsOf(hostBytes('a'))
  const known = { name: 'known' } as VirtualHost
  lazy.keep(0, known)
  lazy.addAll()
  assert.equal(lazy.exact('a')?.value, known)
  assert.deepEqual(decoded, [])
})

test('a host whose bytes cannot be decoded has no value, and is not tried again', () => {
  let tries = 0
  const table = hostBytes('a')
  const lazy = new LazyHosts([{ from: 0, to: table.length }], {
    view: () => table,
    decode: () => {
      tries++
      throw new RangeError('no protobuf')
    },
  })
  lazy.addAll()
  assert.deepEqual([lazy.exact('a')?.value, lazy.exact('a')?.value, tries], [undefined, undefined, 1])
})

test('bytes that are no protobuf are thrown when domains are read of them', () => {
  const { lazy } = hostsOf(Buffer.from('0aff', 'hex'))
  assert.throws(() => lazy.addAll(), RangeError)
})

test('which hosts may share a domain is found among all, and among few that are new', () => {
  const all = [hostBytes('a', 'b'), hostBytes('c'), hostBytes('d', 'a'), hostBytes('e', 'e'), hostBytes('*.f', 'g')]
  const suspects = (hosts: Buffer[], among?: number[]): number[] => {
    const { lazy } = hostsOf(...hosts)
    lazy.addAll()
    return lazy.listSuspects(among)
  }
  assert.deepEqual(suspects(all), [0, 2, 3, 4])
  assert.deepEqual(suspects(all, [2]), [0, 2, 4])
  assert.deepEqual(suspects(all, [0, 3]), [0, 2, 3, 4])
  assert.deepEqual(suspects(all, [1]), [4])
  const many = hostBytes(...Array.from({ length: 300 }, (_, i) => `m${i}`))
  assert.deepEqual(suspects([...all, many], [5]), [0, 2, 3, 4], 'all are looked at')
})

test('hosts that stand in another table are found as they were there', () => {
  const before = hostsOf(hostBytes('a'), hostBytes('b', 'b2'), hostBytes('c'), hostBytes('*.d', 'd'))
  before.lazy.addAll()
  const { lazy, nameOf } = hostsOf(hostBytes('new'), hostBytes('b', 'b2'), hostBytes('c'), hostBytes('*.d', 'd'))
  lazy.add(['new'])
  lazy.addAs({ hosts: before.lazy, no: 1, count: 2 })
  lazy.addAs({ hosts: before.lazy, no: 3, count: 1 })
  assert.deepEqual(['new', 'a', 'b', 'b2', 'c', 'd'].map(nameOf), [
    'host 0',
    undefined,
    'host 1',
    'host 1',
    'host 2',
    'host 3',
  ])
  assert.deepEqual(
    lazy.wildcards.map(([domain]) => domain),
    ['*.d'],
  )
  assert.throws(() => lazy.add(['late']))
})
