import { test } from 'node:test'
import assert from 'node:assert/strict'
import { checkRouteTable, type RouteTableCheck } from '../../../../control-sync/decode/route/route-table.ts'
import { CheckedHosts, SameHosts } from '../../../../control-sync/decode/route/checked-hosts.ts'
import { LazyHosts } from '../../../../control-sync/decode/route/lazy-hosts.ts'
import { PackedResource } from '../../../../control-sync/snapshot/packed-resource.ts'

/** A field of fewer than 128 bytes. */
const field = (no: number, content: Uint8Array | string): Buffer =>
  Buffer.concat([Buffer.from([no * 8 + 2, content.length]), Buffer.from(content)])
const host = (name: string, ...domains: string[]): Buffer =>
  Buffer.concat([field(1, name), ...domains.map((d) => field(2, d))])
const table = (...hosts: Buffer[]): Buffer => Buffer.concat([field(1, 't'), ...hosts.map((h) => field(2, h))])
/** The second field says that it is longer than the host. */
const TORN = Buffer.from('0a0162127f61', 'hex')

function check(bytes: Uint8Array, before?: CheckedHosts): RouteTableCheck {
  const raw = new PackedResource({ name: 't', version: '', value: bytes })
  const run = checkRouteTable(raw, { readFile: undefined, before, clustersOf: () => [] })
  for (;;) {
    const { done, value } = run.next()
    if (done) return value
  }
}
const told = ({ decoded }: RouteTableCheck): object =>
  decoded.ok ? { ignored: decoded.ignored, blocked: decoded.blocked } : { refused: decoded.issues }

function same(...hosts: Buffer[]): SameHosts {
  const bytes = Buffer.concat(hosts)
  let to = 0
  const spans = hosts.map((h) => ({ from: to, to: (to += h.length) }))
  const checked = new CheckedHosts(
    new Uint8Array(),
    new LazyHosts(spans, { view: () => bytes, decode: () => undefined }),
  )
  for (const _ of hosts) checked.add([])
  return new SameHosts(checked)
}

test('the same host is found where it stood, and behind hosts that came, went or moved', () => {
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => host(name, `${name}.example`)) as [
    Buffer,
    Buffer,
    Buffer,
    Buffer,
  ]
  const find = (before: Buffer[], after: Buffer[]): (number | undefined)[] => {
    const hosts = same(...before)
    return after.map((h) => hosts.find(h)?.no)
  }
  assert.deepEqual(find([a, b, c], [a, b, c]), [0, 1, 2])
  assert.deepEqual(find([a, b, c], [d, a, b, c]), [undefined, 0, 1, 2])
  assert.deepEqual(find([a, b, c], [a, d, b, c]), [0, undefined, 1, 2])
  assert.deepEqual(find([a, b, c], [a, c]), [0, 2])
  assert.deepEqual(find([a, b, c], [c, b, a]), [2, 1, 0])
  assert.deepEqual(find([], [a]), [undefined])
  assert.deepEqual(find([a], [a, b]), [0, undefined])
  const other = host('b', 'x.example')
  assert.equal(other.length, b.length)
  assert.deepEqual(find([a, b, c], [a, other, c]), [0, undefined, 2])
})

test('hosts without a name, or with the same, are told apart by their bytes', () => {
  const [one, other] = [field(2, 'one'), field(2, 'two')]
  const hosts = same(one, other, host('n', 'a'), host('n', 'b'))
  assert.deepEqual(
    [other, host('n', 'a'), host('n', 'c')].map((h) => hosts.find(h)?.no),
    [1, 2, undefined],
  )
})

test('a host that cannot be read stops neither itself nor others from being found out about anew', () => {
  const [a, b] = [host('a', 'a.example'), host('b', 'b.example', '*.b.example')]
  for (const before of [table(a, TORN), table(TORN, a), table(a, b)])
    for (const after of [table(b, a, TORN), table(TORN, b, a), table(b, TORN, TORN), table(b, b, a)])
      assert.deepEqual(told(check(after, check(before).checked)), told(check(after)))
})

test('a domain that a host before has is told, also where both hosts are known', () => {
  const [a, b, c] = [host('a', 'x'), host('b', 'X', 'y'), host('c', '*', 'z')]
  const twice = table(a, b, c, host('d', 'd', '*'))
  const known = check(twice).checked
  assert.deepEqual(told(check(twice, known)), told(check(twice)))
  assert.deepEqual(told(check(twice, known)), {
    ignored: [
      'virtual_hosts[1].domains[0] (a host before this one has it already)',
      'virtual_hosts[3].domains[1] (a host before this one has it already)',
    ],
    blocked: [],
  })
})
