/**
 * Active health checks of one cluster (envoy.config.core.v3.HealthCheck): a session for each host that is there. They
 * run whether the cluster is used or not, within the budget of all checks.
 */
import { guard, doNothing } from '../../../core/defects/guard.ts'
import type { Family, Metrics } from '../../../core/metrics.ts'
import type { Cluster, EndpointCheck } from '../../../model/cluster.ts'
import type { HealthCheck } from '../../../model/http/health-check.ts'
import { Load } from '../breakers.ts'
import type { Host } from '../host.ts'
import type { Hosts } from '../hosts.ts'
import { openConnection } from '../open-connection.ts'
import type { PoolOwner } from '../pool.ts'
import { deriveCheckedCluster, deriveCheckedEndpoint, type Asker } from './ask.ts'
import { CheckBudget, MAX_CHECKS_AT_ONCE } from './budget.ts'
import { HttpAsker, type HttpChecked } from './http.ts'
import { createProgress, type Change, type Progress, type Verdict } from './progress.ts'
import { CheckSession } from './session.ts'
import { TcpAsker } from './tcp.ts'

/** What is shared by the checks of all clusters. */
export type CheckWorld = { readonly budget: CheckBudget; readonly counted: Family<'result'> }

export function createCheckWorld(metrics: Metrics): CheckWorld {
  const deferred = metrics
    .counter(
      'mesh_upstream_health_checks_deferred_total',
      `Questions whether an endpoint is well that had to wait, because ${MAX_CHECKS_AT_ONCE} were under way.`,
    )
    .cell({})
  const counted = metrics.counter(
    'mesh_upstream_health_checks_total',
    'Questions whether an endpoint is well, by what became of them: passed, active (an answer that says no), network (none), passive (x-envoy-immediate-health-check-fail).',
    ['result'],
  )
  const budget = new CheckBudget(() => {
    deferred.value++
  })
  metrics.gaugeOf(
    'mesh_upstream_health_checks_active',
    'Endpoints that are being asked whether they are well.',
    () => budget.running,
  )
  return { budget, counted }
}

export type ChecksOptions = Pick<PoolOwner, 'ctx' | 'cluster' | 'deadlines' | 'aborted' | 'expiryWatcher'> & {
  readonly check: HealthCheck
  readonly world: CheckWorld
  readonly hosts: Hosts
  readonly wasUsed: () => boolean
  /** A host gets nothing any more. */
  readonly failed: (host: Host) => void
}

type Running = { readonly session: CheckSession; readonly settings: EndpointCheck | undefined }

export class ClusterChecks implements Disposable {
  readonly #o: ChecksOptions
  readonly #askedOver: Cluster
  readonly #running = new Map<Host, Running>()
  /** Of the version of the cluster before, by host. */
  #before: ReadonlyMap<string, Progress> = new Map()
  #firstRound = Promise.withResolvers<void>()
  #isFirstRoundOver = false
  #isOver = false

  constructor(options: ChecksOptions) {
    this.#o = options
    this.#askedOver = deriveCheckedCluster(options.cluster, options.check)
  }

  /** Each host that is there was asked once. */
  get isReady(): boolean {
    return this.#isFirstRoundOver || this.#running.size === 0
  }
  /** Envoy does not use a cluster before. Never rejects. */
  async ready(): Promise<void> {
    if (!this.isReady) await this.#firstRound.promise
  }
  /** What is known of hosts. */
  get progress(): ReadonlyMap<string, Progress> {
    return new Map([...this.#running].map(([host, { session }]) => [host.key, session.progress]))
  }
  /** Why a host gets nothing. */
  reasonOf(host: Host): string | undefined {
    return this.#running.get(host)?.session.reason
  }

  /** What was found by the same check is known already. */
  inherit(before: ReadonlyMap<string, Progress>): void {
    this.#before = before
  }

  /** The hosts of the cluster are others now. */
  reconcile(): void {
    if (this.#isOver) return
    const hosts = new Set(this.#o.hosts.all)
    for (const [host, running] of this.#running) {
      const isSame = JSON.stringify(host.endpoint.check) === JSON.stringify(running.settings)
      if (!hosts.has(host) || !isSame) this.#end(host)
    }
    for (const host of hosts) if (!this.#running.has(host) && !host.endpoint.check?.isOff) this.#begin(host)
    this.#before = new Map()
    this.#o.hosts.healthChanged()
    this.#lookAtFirstRound()
  }

  failPassively(host: Host): void {
    this.#running.get(host)?.session.failPassively()
  }

  [Symbol.dispose](): void {
    this.#isOver = true
    for (const { session } of this.#running.values()) session[Symbol.dispose]()
    this.#running.clear()
    this.#firstRound.resolve()
  }

  #begin(host: Host): void {
    const { check, ctx, cluster, world, wasUsed } = this.#o
    const known = this.#before.get(host.key)
    const progress = known ?? createProgress(cluster.leavesOutNewHosts ?? false)
    host.check = progress.health
    const session = new CheckSession({
      host,
      check,
      asker: this.#askerOf(host),
      progress,
      budget: world.budget,
      clock: ctx.clock,
      random: ctx.random,
      wasUsed,
      told: (...what) => this.#told(...what),
    })
    this.#running.set(host, { session, settings: host.endpoint.check })
    session.start(known ? check.intervals.healthyMs : check.intervals.initialJitterMs)
  }
  #end(host: Host): void {
    this.#running.get(host)?.session[Symbol.dispose]()
    this.#running.delete(host)
    host.check = undefined
  }

  #askerOf(host: Host): Asker {
    const { ctx, check, deadlines, aborted, expiryWatcher } = this.#o
    const endpoint = deriveCheckedEndpoint(host.endpoint, check)
    const cluster = this.#askedOver
    const { asks } = check
    if (asks.kind === 'tcp') return new TcpAsker(ctx, cluster, endpoint, { ...check, asks })
    const owner = {
      ctx,
      cluster,
      deadlines,
      aborted,
      expiryWatcher,
      load: new Load(),
      hosts: NOBODY_HEARS,
      open: openConnection,
    }
    return new HttpAsker(owner, endpoint, { ...check, asks } satisfies HttpChecked)
  }

  #told(host: Host, verdict: Verdict | undefined, change: Change): void {
    if (verdict) this.#found(host, verdict, change)
    this.#lookAtFirstRound()
  }
  #found(host: Host, verdict: Verdict, change: Change): void {
    const { hosts, world, failed } = this.#o
    world.counted.cell({ result: verdict.kind === 'passed' ? 'passed' : verdict.by }).value++
    this.#log(host, verdict, change)
    if (verdict.kind === 'passed' && !host.check?.hasFailed) hosts.returnEarly(host)
    if (change === 'changed') {
      hosts.healthChanged()
      if (host.check?.hasFailed) {
        failed(host)
        hosts.failed(host)
      }
    }
  }

  #log({ endpoint, check }: Host, verdict: Verdict, change: Change): void {
    const { cluster, ctx } = this.#o
    const where = { cluster: cluster.name, address: endpoint.address, port: endpoint.port }
    const isFailed = verdict.kind === 'failed'
    const { logsFailures, logsSuccesses } = this.#o.check
    if (change !== 'changed' && !(isFailed ? logsFailures : logsSuccesses)) return
    if (check?.hasFailed)
      ctx.log.warn(
        {
          evt: 'endpoint.unhealthy',
          code: 'MESH_PROBE_FAILED',
          ...where,
          reason: isFailed ? verdict.reason : undefined,
        },
        'the endpoint gets nothing: it does not answer as it should',
      )
    else ctx.log.info({ evt: 'endpoint.healthy', ...where, degraded: check?.isDegraded }, 'the endpoint answers')
  }

  #lookAtFirstRound(): void {
    if (this.#isFirstRoundOver) return
    if (this.#running.size === 0) {
      // Nobody is left whose answer could be waited for; hosts that come later are.
      const { resolve } = this.#firstRound
      this.#firstRound = Promise.withResolvers<void>()
      over(resolve)
      return
    }
    for (const { session } of this.#running.values()) if (!session.wasAsked) return
    this.#isFirstRoundOver = true
    over(this.#firstRound.resolve)
  }
}

const over = guard('health', doNothing, (resolve: () => void) => {
  resolve()
})
const NOBODY_HEARS = { report: doNothing }
