/**
 * The control link as a whole against a model of the control plane: random orders of changes, pushes, refusals, cuts
 * and restarts. Whatever happened, in the end the agent has what the server has, and what it said on each stream kept
 * to the rules of the protocol.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { TYPE_URLS, type ResourceKind } from '../../../model/snapshot.ts'
import type { AdsRequest } from '../../../control-sync/ads/protocol.ts'
import { FakeIstiod, type FakeTransport, type StreamRecord } from '../../helpers/control-plane/fake-istiod.ts'
import { ENDINGS } from '../../helpers/control-plane/fake-streams.ts'
import { seededRandom } from '../../helpers/random.ts'
import { sample, type Sample } from '../../helpers/control-plane/resources.ts'
import { canonicalHex } from '../../helpers/shuffled.ts'
import { settle } from '../../helpers/sim-clock.ts'
import {
  brokenCluster,
  brokenTable,
  clusterWithMistake,
  edsCluster,
  httpListener,
  load,
  SyncedAgent,
  table,
  tableWithMistake,
} from '../../helpers/control-plane/synced-agent.ts'

const CLUSTERS = 14
const WHOLE = ['cluster', 'listener', 'nameTable'] as const
const BY_NAME: readonly ResourceKind[] = ['endpoint', 'route', 'extension']

type Step =
  | { readonly do: 'cluster'; readonly i: number; readonly as: 'good' | 'other' | 'broken' | 'gone' }
  | { readonly do: 'endpoints'; readonly i: number; readonly count: number }
  | { readonly do: 'table'; readonly i: number; readonly to: number; readonly isBroken: boolean }
  | {
      readonly do: 'listener'
      readonly i: number
      readonly table: number
      readonly isGone: boolean
      readonly extension: boolean
    }
  | { readonly do: 'extension'; readonly isThere: boolean; readonly path: number }
  | { readonly do: 'lose half' | 'push' | 'push all' | 'cut' | 'restart' | 'settle' | 'new process' }
  | { readonly do: 'refuse'; readonly how: 'rate' | 'notReady' | 'noIdentity' }
  | { readonly do: 'wait'; readonly ms: number }

const index = fc.nat(CLUSTERS - 1)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('cluster' as const),
      i: index,
      as: fc.constantFrom('good', 'other', 'broken', 'gone'),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('endpoints' as const), i: index, count: fc.nat(3) }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('table' as const), i: fc.nat(2), to: index, isBroken: fc.boolean() }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('listener' as const),
      i: fc.nat(2),
      table: fc.nat(2),
      isGone: fc.boolean(),
      extension: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('extension' as const), isThere: fc.boolean(), path: fc.nat(2) }),
  },
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'lose half',
        'push',
        'push',
        'push',
        'push all',
        'cut',
        'restart',
        'settle',
        'settle',
        'new process',
      ),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('refuse' as const),
      how: fc.constantFrom('rate', 'notReady', 'noIdentity'),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat(40_000) }) },
)

class Run {
  readonly istiod = new FakeIstiod()
  readonly transports: FakeTransport[] = []
  agent: SyncedAgent
  readonly #flavour: 'delta' | 'sotw'
  readonly #holdMs: number
  readonly #random = seededRandom(11)
  /**
   * The state of the world has no names beside the resources: what is no resource there has none. So it has mistakes,
   * which are blocked and not asked for again.
   */
  get #brokenTable(): (name: string) => Sample {
    return this.#flavour === 'delta' ? brokenTable : tableWithMistake
  }
  get #brokenCluster(): (name: string) => Sample {
    return this.#flavour === 'delta' ? brokenCluster : clusterWithMistake
  }
  /** Changed since the last push. */
  #clusters = new Set<string>()

  constructor(flavour: 'delta' | 'sotw', holdMs: number) {
    this.#flavour = flavour
    this.#holdMs = holdMs
    for (let i = 0; i < CLUSTERS; i++) this.istiod.put(edsCluster(`c${i}`), load(`c${i}`, '10.0.0.1'))
    this.istiod.put(httpListener('l0', 't0'), table('t0', 'c0', 'c1'))
    this.agent = this.#start(undefined)
  }

  async step(s: Step): Promise<void> {
    switch (s.do) {
      case 'cluster':
        this.#cluster(`c${s.i}`, s.as)
        break
      case 'endpoints':
        this.istiod.put(load(`c${s.i}`, ...Array.from({ length: s.count }, (_, n) => `10.0.0.${n + 1}`)))
        this.#clusters.add(`c${s.i}`)
        break
      case 'table':
        this.#wide(s.isBroken ? this.#brokenTable(`t${s.i}`) : table(`t${s.i}`, `c${s.to}`))
        break
      case 'listener':
        this.#listener(s)
        break
      // One that was there stays there: istiod tells nobody that one is gone (istio-control-plane, quirks: ECDS is
      // never removed).
      case 'extension':
        if (s.isThere) this.#wide(extension(`/p${s.path}`))
        break
      case 'lose half':
        for (let i = 0; i < CLUSTERS; i += 2) this.#cluster(`c${i}`, 'gone')
        this.istiod.restart()
        break
      case 'push':
        this.push()
        break
      case 'push all':
        this.#clusters.clear()
        this.istiod.pushAll()
        break
      case 'cut':
        this.istiod.end(ENDINGS.dropped)
        break
      case 'restart':
        this.istiod.restart()
        break
      case 'refuse':
        this.istiod.refuse.push(ENDINGS[s.how])
        break
      case 'wait':
        await this.agent.clock.advance(s.ms)
        break
      case 'settle':
        await settle()
        break
      case 'new process':
        await this.agent[Symbol.asyncDispose]()
        this.agent = this.#start(this.agent)
        break
      default:
        s satisfies never
    }
    // The loop turns a little between any two, so that messages are under way when the next thing happens.
    await new Promise<void>((resolve) => {
      setImmediate(resolve)
    })
  }

  push(): void {
    this.istiod.push({ clusters: [...this.#clusters] })
    this.#clusters = new Set()
  }
  /**
   * Everything is mended and told, and there is time enough for whatever waits.
   * @param isSilent what is mended is told to nobody: the agent has to ask
   */
  async finish(isSilent: boolean): Promise<void> {
    this.istiod.refuse.length = 0
    const isUntold = isSilent && this.#flavour === 'delta'
    if (isUntold) {
      this.push()
      for (let i = 0; i < 20; i++) await settle()
    }
    for (const name of ['t0', 't1', 't2'])
      if (Buffer.compare(this.istiod.get('route', name) ?? Buffer.alloc(0), this.#brokenTable(name).bytes) === 0)
        this.#wide(table(name, 'c0'))
    for (const [name] of this.istiod.all('cluster')) this.#mend(name)
    if (!isUntold) this.push()
    await this.agent.clock.advance(1_000_000)
    for (let i = 0; i < 20; i++) await settle()
  }

  #cluster(name: string, as: 'good' | 'other' | 'broken' | 'gone'): void {
    this.#clusters.add(name)
    if (as === 'gone') this.istiod.drop('cluster', name)
    else
      this.istiod.put(
        as === 'broken' ? this.#brokenCluster(name) : edsCluster(name, as === 'other' ? { connect_timeout: '3s' } : {}),
      )
  }
  #mend(name: string): void {
    if (Buffer.compare(this.istiod.get('cluster', name)!, this.#brokenCluster(name).bytes) === 0)
      this.#cluster(name, 'good')
  }
  #listener(s: Extract<Step, { do: 'listener' }>): void {
    if (s.isGone) {
      this.istiod.drop('listener', `l${s.i}`)
    } else this.#wide(httpListener(`l${s.i}`, `t${s.table}`, { port: 8080 + s.i, filters: s.extension ? [LATER] : [] }))
  }
  #wide(s: Sample): void {
    this.istiod.put(s)
  }
  #start(before: SyncedAgent | undefined): SyncedAgent {
    const transport = this.istiod.transport(this.#flavour)
    this.transports.push(transport)
    return new SyncedAgent(transport, {
      random: this.#random,
      shrinkHoldMs: this.#holdMs,
      refusedRetryMs: 5_000,
      refusedRetryMaxMs: 60_000,
      ...(before ? { before } : {}),
    })
  }
}

const RBAC = 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC'
const LATER = { name: 'ext', config_discovery: { config_source: { ads: {} }, type_urls: [RBAC] } }
const extension = (path: string): Sample =>
  sample({
    '@type': 'type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig',
    name: 'ext',
    typed_config: {
      '@type': RBAC,
      rules: {
        action: 'DENY',
        policies: { p: { permissions: [{ url_path: { path: { exact: path } } }], principals: [{ any: true }] } },
      },
    },
  })

/** What the agent should have of each kind: all that there is of some, of the others what is named. */
function expected({ istiod, agent }: Run): Record<string, string> {
  const hashes: Record<string, string> = {}
  const add = (kind: ResourceKind, names: ReadonlySet<string>): void => {
    for (const [name, value] of istiod.generate(kind, names) ?? [])
      hashes[`${kind} ${name}`] = canonicalHex(TYPE_URLS[kind], value)
  }
  for (const kind of WHOLE) add(kind, new Set())
  add('endpoint', new Set(istiod.all('cluster').map(([name]) => name)))
  for (const kind of ['route', 'extension'] as const) add(kind, agent.applier.referenced(kind))
  return hashes
}
const actual = ({ agent }: Run): Record<string, string> =>
  Object.fromEntries(
    Object.entries(agent.applier.snapshot.resources).flatMap(([kind, all]) =>
      [...all].map(([name, raw]) => [`${kind} ${name}`, canonicalHex(TYPE_URLS[kind as ResourceKind], raw.value)]),
    ),
  )

/** The rules of one stream. */
function keepsToTheRules({ sent, received }: StreamRecord): void {
  assert.deepEqual(
    sent.filter((r) => r.withNode),
    sent.slice(0, 1),
    'the node goes with the first request and no other',
  )
  const subscribed = new Map<ResourceKind, Set<string>>()
  for (const r of sent) {
    const first = !subscribed.has(r.kind)
    const names = subscribed.get(r.kind) ?? new Set<string>()
    subscribed.set(r.kind, names)
    if (r.nonce !== '')
      assert.deepEqual(
        [r.subscribe, r.unsubscribe, r.known.size, first],
        [[], [], 0, false],
        'an answer changes no subscription',
      )
    else assert.equal(r.error, undefined)
    if (!first) assert.equal(r.known.size, 0, 'what is known is told once')
    if (first && BY_NAME.includes(r.kind))
      assert.ok(r.subscribe.length > 0, `${r.kind} is never asked for with an empty list`)
    for (const name of r.subscribe) {
      assert.ok(!names.has(name), `${r.kind} ${name} is subscribed twice`)
      if (name !== '*') names.add(name)
    }
    for (const name of r.unsubscribe)
      assert.ok(names.delete(name), `${r.kind} ${name} is given up and was not subscribed`)
  }
  const answered = sent.filter((r) => r.nonce !== '').map((r: AdsRequest) => r.nonce)
  assert.deepEqual(answered, received.slice(0, answered.length), 'each response is answered once, in order')
}

/** Runs that once ended otherwise. */
const FOUND: [Step[], boolean][] = [
  // A route table that waits with held clusters, and that nobody names any more when its time comes.
  [
    [
      { do: 'wait', ms: 0 },
      { do: 'lose half' },
      { do: 'new process' },
      { do: 'settle' },
      { do: 'listener', i: 0, table: 1, isGone: false, extension: false },
    ],
    false,
  ],
]

for (const flavour of ['delta', 'sotw'] as const) {
  for (const holdMs of [0, 30_000]) {
    test(`${flavour}, ${holdMs === 0 ? 'nothing held back' : 'a shrunken push held back'}: in the end the agent has what the server has, and no rule was broken`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.boolean(), async (steps, isSilent) => {
          const run = new Run(flavour, holdMs)
          try {
            for (const s of steps) await run.step(s)
            await run.finish(isSilent)
            assert.deepEqual(actual(run), expected(run))
            assert.deepEqual(
              [run.agent.applier.rejected, run.agent.sync.link.state, run.agent.sync.link.held, run.agent.synced],
              [[], 'connected', undefined, true],
            )
            for (const stream of run.transports.flatMap((t) => t.streams)) keepsToTheRules(stream)
            const last = run.transports.at(-1)!.streams.at(-1)!
            assert.equal(
              last.sent.filter((r) => r.nonce !== '').length,
              last.received.length,
              'nothing is left unanswered',
            )
            assert.deepEqual(
              run.istiod.log.filter((l) => !l.includes('ACK ERROR')),
              [],
            )
          } finally {
            await run.agent[Symbol.asyncDispose]()
          }
        }),
        { numRuns: 100, examples: FOUND },
      )
    })
  }
}
