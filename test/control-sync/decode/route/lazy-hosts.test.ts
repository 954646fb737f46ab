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

test('of two hosts with one domain the first has it, in whichever order they were added', () => {
  const { lazy, nameOf } = hostsOf(hostBytes('x'), hostBytes('x'))
  lazy.add(1, ['x'])
  lazy.add(0, ['x'])
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
