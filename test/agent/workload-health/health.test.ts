import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Current } from '../../../core/current.ts'
import { MeshError } from '../../../core/errors.ts'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import type { WorkloadHealth } from '../../../model/readiness-probe.ts'
import { EMPTY_TABLES, type Tables } from '../../../model/tables.ts'
import { Applier } from '../../../control-sync/apply.ts'
import { startSync, type Sync } from '../../../control-sync/sync.ts'
import type { AdsStreamEvents } from '../../../control-sync/ads/transport.ts'
import { SimClock, settle } from '../../helpers/sim-clock.ts'

const state = (of: WorkloadHealth['state'], reason?: string): WorkloadHealth => ({ state: of, reason, sinceMs: 0 })

/**
 * A control plane under the test's hand, and everything it was told in order: kinds of requests, and words of health.
 */
class Hand implements AsyncDisposable {
  readonly clock = new SimClock()
  readonly told: string[] = []
  readonly health = new Current(state('unknown'))
  readonly sync: Sync
  #events: AdsStreamEvents | undefined

  constructor(o: { readonly wanted: boolean }) {
    const shared = { clock: this.clock, log: silentLog, metrics: new Metrics() }
    this.sync = startSync({
      ...shared,
      applier: new Applier({ ...shared, node: 'n', tables: new Current<Tables>(EMPTY_TABLES), saver: undefined }),
      random: { float: () => 0.5 },
      shrinkHoldMs: 0,
      refusedRetryMs: 0,
      refusedRetryMaxMs: 1,
      trustBundle: false,
      ownRoutes: new Current<ReadonlySet<string>>(new Set()),
      health: o.wanted ? this.health : undefined,
      transport: {
        address: 'a:1',
        open: async (events) => {
          this.#events = events
          return {
            send: (r) => {
              if (r.nonce === '') this.told.push(r.kind)
            },
            sendHealth: (h) => {
              this.told.push(h.reason === undefined ? h.state : `${h.state}: ${h.reason}`)
            },
            close: () => {
              this.#events = undefined
            },
          }
        },
      },
    })
  }
  async answer(): Promise<void> {
    await settle()
    this.#events!.onResponse({ kind: 'cluster', nonce: '1', systemVersion: '', removed: [], resources: [] })
    await settle()
  }
  end(): void {
    this.#events!.onEnd(new MeshError('MESH_CONTROL_UNREACHABLE', 'cut'))
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.sync[Symbol.asyncDispose]()
  }
}
const OPENING = ['cluster', 'listener', 'nameTable']

test('health is told after the first answer, at every change, and anew on every stream', async () => {
  await using hand = new Hand({ wanted: true })
  await settle()
  hand.health.swap(state('healthy'))
  assert.deepEqual(hand.told, OPENING, 'before an answer istiod has no WorkloadEntry to write it to')
  await hand.answer()
  await hand.answer()
  hand.health.swap(state('unhealthy', 'no disk'))
  assert.deepEqual(hand.told, [...OPENING, 'healthy', 'unhealthy: no disk'])
  hand.end()
  await settle()
  hand.health.swap(state('healthy'))
  await hand.clock.advance(2_000)
  await hand.answer()
  assert.deepEqual(hand.told.slice(5), [...OPENING, 'healthy'])
})

test('what is not known yet is not told', async () => {
  await using hand = new Hand({ wanted: true })
  await hand.answer()
  assert.deepEqual(hand.told, OPENING)
  hand.health.swap(state('healthy'))
  assert.deepEqual(hand.told, [...OPENING, 'healthy'])
})

test('a control plane that keeps no WorkloadEntry is told nothing: an istiod without Kubernetes dies of it', async () => {
  await using hand = new Hand({ wanted: false })
  hand.health.swap(state('healthy'))
  await hand.answer()
  hand.health.swap(state('unhealthy', 'x'))
  assert.deepEqual(hand.told, OPENING)
})
