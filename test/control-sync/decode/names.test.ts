import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Current } from '../../../core/current.ts'
import { TYPE_URLS } from '../../../model/snapshot.ts'
import { EMPTY_TABLES, type Names, type Tables } from '../../../model/tables.ts'
import { SotwStream } from '../../../control-sync/ads/sotw.ts'
import type { Change } from '../../../control-sync/apply.ts'
import { sample } from '../../helpers/control-plane/resources.ts'
import { bareApplier } from '../../helpers/control-plane/applier.ts'

type Info = {
  readonly ips: readonly string[]
  readonly registry?: string
  readonly shortname?: string
  readonly namespace?: string
}
type Put = Change['put'][number]
function table(name: string, hosts: Readonly<Record<string, Info>>): Put {
  return {
    name,
    version: '',
    value: sample({ '@type': TYPE_URLS.nameTable, table: hosts } as unknown as Parameters<typeof sample>[0]).bytes,
  }
}
const service = (...ips: string[]): Info => ({ ips, registry: 'Kubernetes', shortname: 'db', namespace: 'shop' })
const external = (...ips: string[]): Info => ({ ips, registry: 'External' })

class Mesh {
  readonly tables = new Current<Tables>(EMPTY_TABLES)
  readonly applier = bareApplier({ tables: this.tables })
  async push(put: readonly Put[], removed: readonly string[] = []): Promise<Names | undefined> {
    await this.applier.apply([{ kind: 'nameTable', put, removed }])
    return this.tables.get().names
  }
}
const told = (names: Names | undefined): Record<string, string> =>
  Object.fromEntries(
    [...(names ?? [])].map(([name, h]) => [name, `${h.service ? 'service ' : ''}${h.addresses.join()}`]),
  )

test('several name tables are one; what is removed is gone, what stays is the same object', async () => {
  const mesh = new Mesh()
  const first = await mesh.push([table('', { 'a.mesh': external('10.0.0.1') })])
  const both = await mesh.push([table('site', { 'b.mesh': external('10.0.0.2') })])
  assert.deepEqual(
    [told(first), told(both)],
    [{ 'a.mesh': '10.0.0.1' }, { 'a.mesh': '10.0.0.1', 'b.mesh': '10.0.0.2' }],
  )
  await mesh.applier.apply([{ kind: 'cluster', put: [], removed: ['none'] }])
  assert.equal(mesh.tables.get().names, both, 'an index over it is not made again')
  assert.deepEqual(told(await mesh.push([table('site', { 'c.mesh': external('10.0.0.3') })])), {
    'a.mesh': '10.0.0.1',
    'c.mesh': '10.0.0.3',
  })
  assert.deepEqual(told(await mesh.push([], [''])), { 'c.mesh': '10.0.0.3' })
  assert.equal(await mesh.push([], ['site']), undefined)
})
test('an empty table among others takes nothing away, and one that does not decode is refused for itself', async () => {
  const mesh = new Mesh()
  await mesh.push([
    table('a', { 'a.mesh': external('10.0.0.1') }),
    { name: '', version: '', value: new Uint8Array(0) },
    { name: 'bad', version: '', value: Uint8Array.of(0xff) },
  ])
  assert.deepEqual(
    [told(mesh.tables.get().names), mesh.applier.rejected.map((r) => r.name)],
    [{ 'a.mesh': '10.0.0.1' }, ['bad']],
  )
})

for (const { name, one, two, want } of [
  {
    name: 'a Kubernetes service goes before what others say of its name',
    one: external('1.1.1.1'),
    two: service('2.2.2.2'),
    want: 'service 2.2.2.2',
  },
  { name: 'also when it comes first', one: service('2.2.2.2'), two: external('1.1.1.1'), want: 'service 2.2.2.2' },
  { name: 'of two services the first', one: service('1.1.1.1'), two: service('2.2.2.2'), want: 'service 1.1.1.1' },
  {
    name: 'addresses of other hosts go together, each once',
    one: external('1.1.1.1', '2.2.2.2'),
    two: external('2.2.2.2', 'fd00::1'),
    want: '1.1.1.1,2.2.2.2,fd00::1',
  },
])
  test(`a name in two tables, as istiod joins its own sources: ${name}`, async () => {
    assert.deepEqual(
      told(
        await new Mesh().push([
          table('b', { 'DB.shop.svc.cluster.local.': two }),
          table('a', { 'db.shop.svc.cluster.local': one }),
        ]),
      ),
      { 'db.shop.svc.cluster.local': want },
    )
    assert.deepEqual(
      told(await new Mesh().push([table('', { 'db.shop.svc.cluster.local': one, 'DB.shop.svc.cluster.local.': two })]))
        ['db.shop.svc.cluster.local']?.split(/[ ,]/)
        .toSorted(),
      want.split(/[ ,]/).toSorted(),
      'in one table',
    )
  })

test('the state of the world has no names for name tables: each has its place, and a place that is gone is removed', () => {
  const s = new SotwStream()
  s.request({
    kind: 'nameTable',
    withNode: true,
    subscribe: [],
    unsubscribe: [],
    known: new Map(),
    nonce: '',
    error: undefined,
  })
  const say = (...values: Uint8Array[]) => s.response({ kind: 'nameTable', nonce: '1', version: '', values })
  const [a, b] = [Buffer.from('a'), Buffer.from('b')]
  assert.deepEqual(
    say(a, b).resources.map((r) => [r.name, r.value]),
    [
      ['', a],
      ['1', b],
    ],
  )
  assert.deepEqual(say(a).removed, ['1'])
})
