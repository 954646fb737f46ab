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

function hostsOf(...hosts: Buffer[]): LazyHosts {
  const bytes = Buffer.concat(hosts)
  let to = 0
  const spans = hosts.map((h) => ({ from: to, to: (to += h.length) }))
  return new LazyHosts(spans, { view: () => bytes, decode: () => undefined })
}
/** Of each host after, the number of the same before. @param unclean hosts of before that have to be checked anew */
function find(before: Buffer[], after: Buffer[], unclean: readonly number[] = []): (number | undefined)[] {
  const [known, now] = [hostsOf(...before), hostsOf(...after)]
  known.addAll()
  const checked = new CheckedHosts(new Uint8Array(), known)
  for (const no of before.keys()) checked.add(unclean.includes(no) ? undefined : [])
  const same = new SameHosts(checked, now)
  const found: (number | undefined)[] = []
  while (found.length < after.length) {
    const twins = same.find(found.length)
    if (twins) assert.equal(twins.clusters.length, twins.count)
    if (twins) for (let i = 0; i < twins.count; i++) found.push(twins.no + i)
    else found.push(undefined)
  }
  return found
}

/** So many are not looked for by their names. */
const news = ['1', '2', '3', '4'].map((name) => host(name, name))
const NOT_FOUND = news.map(() => undefined)

test('the same host is found where it stood, and behind hosts that came, went or moved', () => {
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => host(name, `${name}.example`)) as [
    Buffer,
    Buffer,
    Buffer,
    Buffer,
  ]
  assert.deepEqual(find([a, b, c], [a, b, c]), [0, 1, 2])
  assert.deepEqual(find([a, b, c], [d, a, b, c]), [undefined, 0, 1, 2])
  assert.deepEqual(find([a, b, c], [a, d, b, c]), [0, undefined, 1, 2])
  assert.deepEqual(find([a, b, c], [a, c]), [0, 2])
  assert.deepEqual(find([a, b, c, d], [a, c, b, d]), [0, 2, undefined, 3])
  assert.deepEqual(find([a, b, c], [...news, c, b, a]), [...NOT_FOUND, 2, 1, 0])
  assert.deepEqual(find([], [a]), [undefined])
  assert.deepEqual(find([a], [a, b]), [0, undefined])
  const other = host('b', 'x.example')
  assert.equal(other.length, b.length)
  assert.deepEqual(find([a, b, c], [a, other, c]), [0, undefined, 2])
})

test('hosts without a name, or with the same, are told apart by their bytes', () => {
  const [one, other] = [field(2, 'one'), field(2, 'two')]
  const before = [one, other, host('n', 'a'), host('n', 'b')]
  assert.deepEqual(find(before, [other, host('n', 'a'), host('n', 'c')]), [1, 2, undefined])
  // By a name the last that has it is found.
  assert.deepEqual(find(before, [...news, host('n', 'a'), host('n', 'b'), one]), [
    ...NOT_FOUND,
    undefined,
    3,
    undefined,
  ])
})

test('many hosts in a row are found together, up to where one differs, came, went or has to be checked', () => {
  const all = Array.from({ length: 600 }, (_, i) => host(`h${i}`, `h${i}.example`))
  const numbers = [...all.keys()]
  assert.deepEqual(find(all, all), numbers)
  for (const at of [0, 1, 2, 3, 255, 256, 257, 511, 598, 599]) {
    const other = host('n', 'n.example')
    assert.deepEqual(find(all, all.toSpliced(at, 0, other)), numbers.toSpliced(at, 0, undefined as never))
    assert.deepEqual(find(all, all.toSpliced(at, 1)), numbers.toSpliced(at, 1))
    const longer = host(`h${at}`, `h${at}.example.org`)
    assert.deepEqual(find(all, all.with(at, longer)), (numbers as (number | undefined)[]).with(at, undefined))
    assert.deepEqual(find(all, all, [at]), (numbers as (number | undefined)[]).with(at, undefined))
  }
})

test('hosts in a row are the same only where each ends as before', () => {
  const [y, z, first] = [host('y', 'y'), host('z', 'z'), host('h', 'h.example')]
  const second = field(2, 'x.example')
  const before = table(y, z, first, second)
  const after = Buffer.from(before)
  // The first takes the beginning of the second, whose own field then begins it.
  const length = before.indexOf(first) - 1
  after[length]! += 2
  assert.deepEqual(told(check(after, check(before).checked)), told(check(after)))
  assert.notDeepEqual(told(check(after)), told(check(before)))
})

test('of two hosts with the same bytes only one is the one before', () => {
  const [a, b, c] = [host('a', 'a'), host('b', 'b'), host('c', 'c')]
  assert.deepEqual(find([a, b, c], [a, b, a, b, c]), [0, 1, undefined, undefined, 2])
  assert.deepEqual(find([a, b, c], [...news, a, b, a, b, c]), [...NOT_FOUND, 0, 1, undefined, undefined, 2])
  const known = check(table(a, b, c)).checked
  assert.deepEqual(told(check(table(a, b, a, c), known)), told(check(table(a, b, a, c))))
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
