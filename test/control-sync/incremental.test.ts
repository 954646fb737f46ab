/** What pushes leave behind one after the other is what the last state of all gives at once: nothing old is kept. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Current } from '../../core/current.ts'
import type { Random } from '../../core/os/clock.ts'
import type { Applier, Change } from '../../control-sync/apply.ts'
import { decode } from '../../control-sync/decode/decode.ts'
import type { ResourceKind } from '../../model/snapshot.ts'
import { EMPTY_TABLES, RouteTable, type Tables } from '../../model/tables.ts'
import { bareApplier } from '../helpers/control-plane/applier.ts'
import { sample } from '../helpers/control-plane/resources.ts'
import { seededRandom } from '../helpers/random.ts'

const SEQUENCES = 60
const PUSHES = 12
const HOSTS = 14
const KINDS: readonly ResourceKind[] = ['cluster', 'route']
const type = (name: string): string => `type.googleapis.com/envoy.config.${name}`

class Dice {
  readonly #random: Random
  constructor(seed: number) {
    this.#random = seededRandom(seed)
  }
  below(n: number): number {
    return Math.floor(this.#random.float() * n)
  }
  pick<T>(all: readonly T[]): T {
    return all[this.below(all.length)]!
  }
  chance(of: number): boolean {
    return this.#random.float() < of
  }
}

const forward = (cluster: string, more: object = {}): object => ({
  match: { prefix: '/' },
  route: { cluster, ...more },
})
/** The same host in different words; most are of one length, so that bytes move nowhere. */
const VARIANTS: readonly ((k: number) => object)[] = [
  (k) => ({ routes: [forward(`c${k % 5}`)] }),
  (k) => ({ routes: [forward(`c${(k + 1) % 5}`)] }),
  (k) => ({ routes: [forward(`c${k % 5}`, { timeout: '7s' })] }),
  (k) => ({ routes: [forward(`c${k % 5}`, { timeout: '8s' })] }),
  (k) => ({ routes: [{ match: { prefix: '/' }, direct_response: { status: 403 } }, forward(`c${k % 5}`)] }),
  // Refused: no regular expression.
  (k) => ({ routes: [{ match: { safe_regex: { regex: '(' } }, route: { cluster: `c${k % 5}` } }] }),
  // Another host's domain, first or last, and one twice.
  (k) => ({ domains: [`h${(k + 1) % HOSTS}.example`, `h${k}.example`], routes: [forward('c1')] }),
  (k) => ({ domains: [`H${k}.example`, `h${k}.example`, `h${(k + 3) % HOSTS}.example`], routes: [forward('c2')] }),
  (k) => ({ domains: [`*.h${k}.example`, `h${k}.*`], routes: [forward('c3')] }),
  () => ({ domains: ['*'], routes: [forward('c4')] }),
  (k) => ({ require_tls: 'ALL', routes: [forward(`c${k % 5}`)] }),
  (k) => ({ routes: [forward(`c${k % 5}`)], retry_policy: { retry_on: '5xx', num_retries: 1 } }),
]
const OUTSIDE: readonly object[] = [
  {},
  { ignore_port_in_host_matching: true },
  { response_headers_to_add: [{ header: { key: 'x-a', value: 'b' } }] },
  { request_headers_to_remove: ['x-b'] },
]

/** A table that changes by a little from push to push, as an istiod's does. */
class TableModel {
  readonly #dice: Dice
  #outside = OUTSIDE[0]!
  #hosts: { readonly k: number; readonly variant: number }[]
  constructor(dice: Dice) {
    this.#dice = dice
    this.#hosts = Array.from({ length: HOSTS / 2 }, (_, k) => ({ k: k * 2, variant: 0 }))
  }

  change(): void {
    const dice = this.#dice
    const at = dice.below(this.#hosts.length + 1)
    const known = this.#hosts[at]
    switch (dice.below(6)) {
      case 0: {
        const k = dice.below(HOSTS)
        if (!this.#hosts.some((h) => h.k === k)) this.#hosts.splice(at, 0, { k, variant: dice.below(VARIANTS.length) })
        break
      }
      case 1:
        this.#hosts.splice(at, 1)
        break
      case 2:
        if (known) this.#hosts.splice(at, 1)
        if (known) this.#hosts.splice(dice.below(this.#hosts.length + 1), 0, known)
        break
      case 3:
        if (dice.chance(0.3)) this.#outside = dice.pick(OUTSIDE)
        break
      default:
        if (known) this.#hosts[at] = { k: known.k, variant: dice.below(VARIANTS.length) }
    }
  }

  get bytes(): Uint8Array {
    return sample({
      '@type': type('route.v3.RouteConfiguration'),
      name: 't',
      ...this.#outside,
      virtual_hosts: this.#hosts.map(({ k, variant }) => ({
        name: `v${k}`,
        domains: [`h${k}.example`, `h${k}.example:80`],
        // As long as that of a real one.
        response_headers_to_add: [{ header: { key: 'x-host', value: `${k}`.padEnd(200, '.') } }],
        ...VARIANTS[variant]!(k),
      })),
    } as Parameters<typeof sample>[0]).bytes
  }
}

function clusterChange(dice: Dice): Change {
  const name = `c${dice.below(6)}`
  if (dice.chance(0.3)) return { kind: 'cluster', put: [], removed: [name] }
  const { bytes } = sample({
    '@type': type('cluster.v3.Cluster'),
    name,
    type: 'STATIC',
    connect_timeout: dice.pick(['1s', '2s']),
    ...(dice.chance(0.2) ? { dns_lookup_family: 'V4_ONLY' } : {}),
  } as Parameters<typeof sample>[0])
  return {
    kind: 'cluster',
    put: [{ name, version: '', value: dice.chance(0.1) ? bytes.slice(1) : bytes }],
    removed: [],
  }
}

type Site = { readonly applier: Applier; readonly tables: Current<Tables> }
function makeSite(): Site {
  const tables = new Current<Tables>(EMPTY_TABLES)
  return { applier: bareApplier({ tables }), tables }
}

/** From what is stored, as a new process would. */
function restart({ applier }: Site): Site {
  const next = makeSite()
  const { snapshot, generation } = applier
  const references = new Map(
    KINDS.flatMap((kind) =>
      [...snapshot.resources[kind]].map(([name, raw]) => [raw, applier.references(kind, name)] as const),
    ),
  )
  next.applier.restore({ snapshot, references, generation, damaged: [], contactAtMs: undefined, changedAtMs: {} })
  return next
}

const ASKED = Array.from({ length: HOSTS }, (_, k) => [
  `h${k}.example`,
  `h${k}.example:80`,
  `h${k}.example:81`,
  `a.h${k}.example`,
  `h${k}.net`,
]).flat()

function describe({ applier, tables }: Site): object {
  const now = tables.get()
  const table = now.routes('t')
  const { resources } = applier.snapshot
  const text = (all: readonly unknown[]): string[] => all.map((one) => JSON.stringify(one)).toSorted()
  return {
    outside: table?.config,
    hosts: ASKED.map((domain) => [domain, table?.virtualHost(domain)]),
    clusters: [...now.clusterNames()].toSorted().map((name) => [name, now.cluster(name)]),
    references: KINDS.flatMap((kind) =>
      [...resources[kind].keys()].toSorted().map((name) => {
        const { cluster = [], notes, ...rest } = applier.references(kind, name)
        return { kind, name, cluster: cluster.toSorted(), notes: sortNotes(notes), ...rest }
      }),
    ),
    blocked: text(applier.rejected.filter(({ blocked }) => blocked)),
    ignored: text(applier.ignored.map(({ name, fields }) => ({ name, fields: fields.toSorted() }))),
    dangling: text(applier.dangling().map(({ holder, name }) => [holder.kind, holder.name, name])),
  }
}
function sortNotes(notes: object | undefined): object {
  return Object.fromEntries(
    Object.entries(notes ?? {}).map(([what, all]) => [
      what,
      (all as unknown[]).map((one) => JSON.stringify(one)).toSorted(),
    ]),
  )
}

/** Another program with the same resources: decoded at once, as a whole. */
function describeWhole(bytes: Uint8Array): object {
  const whole = decode('route', bytes)
  assert.ok(whole.ok)
  const table = new RouteTable(whole.value)
  return ASKED.map((domain) => [domain, table.virtualHost(domain)])
}

test('after each push of a sequence by chance everything is as if the last state had come at once', async () => {
  for (let seed = 1; seed <= SEQUENCES; seed++) {
    const dice = new Dice(seed)
    let site = makeSite()
    const model = new TableModel(dice)
    for (let push = 0; push < PUSHES; push++) {
      for (let i = dice.below(4); i > 0; i--) model.change()
      const changes: Change[] = [
        { kind: 'route', put: [{ name: 't', version: '', value: model.bytes }], removed: [] },
        ...Array.from({ length: dice.below(3) }, () => clusterChange(dice)),
      ]
      if (dice.chance(0.1))
        changes.push({ kind: 'route', put: [{ name: 't', version: '', value: Buffer.from('no') }], removed: [] })
      if (dice.chance(0.1)) site = restart(site)
      await site.applier.apply(changes)
      const fresh = makeSite()
      const { resources } = site.applier.snapshot
      await fresh.applier.apply(
        KINDS.map((kind) => ({
          kind,
          put: [...resources[kind]].map(([name, { value, version }]) => ({ name, version, value })),
          removed: [],
        })),
      )
      const [is, wanted] = [describe(site), describe(fresh)]
      assert.deepEqual(is, wanted, `seed ${seed}, push ${push}`)
      const { value } = resources.route.get('t')!
      assert.deepEqual((is as { hosts: object }).hosts, describeWhole(value), `seed ${seed}, push ${push}: as a whole`)
      assert.deepEqual(value, Uint8Array.from(model.bytes), `seed ${seed}, push ${push}: what was sent last`)
    }
  }
})
