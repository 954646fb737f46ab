/** What must be true of rollouts, whatever happens, told from what the devices and the time have done: for machine-model.test.ts. */
import assert from 'node:assert/strict'
import type { RolloutRecord } from '../../../hub/registry/rollout/rollouts.ts'
import { applyAssignment, type Assignment } from '../../../hub/rollout/desired.ts'
import { isActive, type RolloutState } from '../../../hub/rollout/machine.ts'
import { isWithin } from '../../../hub/rollout/scope.ts'
import { findWave, parseWaves } from '../../../hub/rollout/waves.ts'
import { describeRefusal, type ModelDevice, type ModelSite } from './model-site.ts'

/** A look of the driver, what a hub writes of its devices, and the time between two checks. */
const SLACK_MS = 10_000
const LEASE_MS = 15_000

type Seen = {
  state: RolloutState
  wave: number
  /** So long its wave has run, as seen from outside, and how often it was held or driven by another process meanwhile. */
  ranMs: number
  waveFromMs: number
  interruptions: number
  readonly events: string[]
  /** Devices that it was for when it began, and those of them that were sent its revision because of it. */
  readonly planned: ReadonlySet<string>
  readonly sent: Set<string>
  /** Since when those that were there in the soak of their wave have had the time to be counted. */
  readonly counted: Map<string, number>
  /** Who has refused its revision since when, who was away or silent or gone at some time, and whether requests failed. */
  readonly refused: Map<string, number>
  readonly silent: Set<string>
  hasFailures: boolean
}

export class ModelOracle {
  readonly #site: ModelSite
  readonly #seen = new Map<string, Seen>()
  #good: readonly Assignment[] = []
  #readyMs = 0
  #leaseWallMs: number | undefined
  /** Since when each device has been away without a pause, or there without taking what it was sent. */
  readonly #awayMs = new Map<string, number>()
  readonly #stuckMs = new Map<string, { readonly sinceMs: number; readonly revision: string }>()

  constructor(site: ModelSite) {
    this.#site = site
  }

  crashed(): void {
    this.#leaseWallMs = this.#site.clock.wallMs() + LEASE_MS
    this.interrupted()
  }
  /** What a process has counted of the soak and of absences is gone with it. */
  interrupted(): void {
    this.#readyMs = this.#site.clock.monotonicMs()
    for (const seen of this.#seen.values()) {
      seen.interruptions++
      for (const [name, ms] of seen.counted) if (this.#nowMs - ms < SLACK_MS) seen.counted.delete(name)
      for (const [name, ms] of seen.refused) if (this.#nowMs - ms < SLACK_MS) seen.refused.set(name, this.#nowMs)
    }
  }
  failed(): void {
    for (const seen of this.#seen.values()) seen.hasFailures = true
  }
  /** Whatever was counted of this device begins anew. */
  changed({ name }: ModelDevice): void {
    this.#awayMs.delete(name)
    this.#stuckMs.delete(name)
    for (const seen of this.#seen.values()) {
      seen.counted.delete(name)
      if (seen.refused.has(name)) seen.refused.set(name, Number.POSITIVE_INFINITY)
    }
  }

  /** @param passedMs since the last check */
  async check(passedMs: number): Promise<void> {
    const { registry } = this.#site
    const all = (await registry.rollouts.list(100)).toReversed()
    assert.ok(all.filter(isActive).length <= 1, 'one at a time')
    for (const rollout of all) this.#follow(rollout, passedMs)
    assert.deepEqual(await registry.rollouts.assignments(), this.#good, 'what is good')
    this.#followLease()
    const active = all.find(isActive)
    for (const device of this.#site.devices) this.#followDevice(device, active)
    if (active) this.#checkGates(active)
  }

  async checkAudit(): Promise<void> {
    for (const [id, { events }] of this.#seen) {
      const rows = await this.#site.registry.audit.list({ subject: id, most: 100 })
      assert.deepEqual(
        rows.map(({ event }) => event),
        events,
        `audit of ${id}`,
      )
      for (const { event, detail, actor } of rows) {
        const isOfHub = ['rollout.wave', 'rollout.halted', 'rollout.completed'].includes(event)
        assert.equal(actor, isOfHub ? 'hub' : 'operator:kim')
        if (event === 'rollout.halted') assert.match(detail, /: (rejected>0|lost>0|errors>2x): \d+ of \d+/)
        else if (event === 'rollout.superseded') assert.match(detail, /takes its place/)
        else if (!isOfHub) assert.match(detail, /the script says so/)
      }
    }
  }

  #follow(rollout: RolloutRecord, passedMs: number): void {
    const seen = this.#seen.get(rollout.id)
    if (!seen) {
      this.#begin(rollout)
      return
    }
    if (seen.state === 'running') seen.ranMs += passedMs
    if (rollout.wave !== seen.wave) {
      assert.equal(rollout.wave, seen.wave + 1, 'wave after wave')
      assert.equal(seen.state, 'running', 'no wave begins in a pause')
      this.#checkSoak(rollout, seen)
      seen.events.push('rollout.wave')
      Object.assign(seen, { wave: rollout.wave, ranMs: 0, interruptions: 0, waveFromMs: this.#nowMs })
    }
    if (rollout.state !== seen.state) this.#changeState(rollout, seen)
    const most = Math.ceil((parseWaves(rollout.waves)[rollout.wave]! * seen.planned.size) / 100)
    const sent = seen.sent.size
    assert.ok(sent <= most, `${sent} of ${seen.planned.size} have ${rollout.to}, wave ${rollout.wave} permits ${most}`)
  }

  #begin(rollout: RolloutRecord): void {
    const planned = this.#site.devices.filter((d) => !d.isRemoved && isWithin(rollout.scope, d)).map(({ name }) => name)
    const isAtOnce = rollout.state === 'completed'
    this.#seen.set(rollout.id, {
      state: rollout.state,
      wave: rollout.wave,
      ranMs: 0,
      waveFromMs: this.#nowMs,
      interruptions: 0,
      events: ['rollout.started'],
      planned: new Set(planned),
      sent: new Set(),
      counted: new Map(),
      refused: new Map(),
      silent: new Set(),
      hasFailures: false,
    })
    assert.deepEqual(rollout.before, this.#good)
    if (isAtOnce) this.#good = applyAssignment(this.#good, { scope: rollout.scope, revision: rollout.to })
  }

  /** What is looked at every two seconds may be told too much by as much, each time that somebody holds it. */
  #checkSoak({ soakMs }: RolloutRecord, { ranMs, interruptions }: Seen): void {
    const least = soakMs - 4_000 - 4_000 * interruptions
    assert.ok(ranMs >= least, `a wave ran for ${ranMs} ms, less than its soak`)
  }

  #changeState(rollout: RolloutRecord, seen: Seen): void {
    const before = seen.state
    seen.state = rollout.state
    seen.interruptions++
    seen.events.push(rollout.state === 'running' ? 'rollout.resumed' : `rollout.${rollout.state}`)
    if (!isActive({ state: before })) assert.deepEqual([before, rollout.state], ['completed', 'undone'])
    if (rollout.state === 'undone') this.#good = rollout.before
    if (rollout.state === 'completed') {
      assert.equal(before, 'running')
      assert.equal(rollout.wave, rollout.upTo.length - 1)
      this.#checkSoak(rollout, { ...seen, interruptions: seen.interruptions - 1 })
      this.#good = applyAssignment(this.#good, { scope: rollout.scope, revision: rollout.to })
    }
    if (rollout.state === 'halted') this.#checkReason(rollout, seen)
  }

  /** A rollout halts for what its devices did. */
  #checkReason({ reason }: RolloutRecord, seen: Seen): void {
    const [, gate, names] = /^(\w+)>\w+: (?:\d+ of \d+ device\(s\), )?(.*)$/.exec(reason) ?? []
    if (gate === 'errors') assert.ok(seen.hasFailures, reason)
    else
      for (const name of names!.split(', '))
        assert.ok(gate === 'rejected' ? seen.refused.has(name) : seen.silent.has(name), `${name} did not: ${reason}`)
  }

  get #nowMs(): number {
    return this.#site.clock.monotonicMs()
  }
  /** After a crash nobody drives before the lease of the dead has ended, by the wall clock. */
  #followLease(): void {
    if (this.#leaseWallMs === undefined) return
    const nowMs = this.#site.clock.wallMs()
    this.#readyMs = this.#nowMs
    if (nowMs > this.#leaseWallMs || this.#leaseWallMs > nowMs + 10 * LEASE_MS) this.#leaseWallMs = undefined
  }

  #followDevice(device: ModelDevice, active: RolloutRecord | undefined): void {
    const { name } = device
    const wave = active && isWithin(active.scope, device) ? findWave(active, name) : Number.POSITIVE_INFINITY
    const good = this.#good.findLast(({ scope }) => isWithin(scope, device))?.revision
    const wanted = active && wave <= active.wave ? active.to : good
    const seen = active && this.#seen.get(active.id)!
    if (device.isConnected) {
      assert.equal(device.offered, wanted, `${name} is sent what it is to have`)
      if (device.manner === 'takes' && device.refused === undefined) assert.equal(device.inForce, wanted)
      this.#awayMs.delete(name)
    } else if (!this.#awayMs.has(name)) this.#awayMs.set(name, this.#nowMs)
    const stuck = this.#stuckMs.get(name)
    if (!device.isConnected || device.inForce === wanted) this.#stuckMs.delete(name)
    else if (stuck?.revision !== wanted) this.#stuckMs.set(name, { sinceMs: this.#nowMs, revision: wanted! })
    if (!seen || wave > active.wave) return
    if (!device.isConnected || device.inForce !== wanted) seen.silent.add(name)
    if (device.isConnected && wanted !== good && seen.planned.has(name)) seen.sent.add(name)
    // One that comes after the soak of its wave does not count.
    const counts = wave === active.wave && seen.ranMs + SLACK_MS < active.soakMs && this.#leaseWallMs === undefined
    const sinceMs = seen.counted.get(name)
    if (device.isConnected && sinceMs === undefined && counts) seen.counted.set(name, this.#nowMs)
    if (!device.isConnected && sinceMs !== undefined && this.#nowMs - sinceMs < SLACK_MS) seen.counted.delete(name)
    const isNew = device.refused === describeRefusal(active.to, active.id)
    if (isNew && !seen.refused.has(name)) seen.refused.set(name, counts ? this.#nowMs : Number.POSITIVE_INFINITY)
    if (!isNew && seen.refused.has(name)) seen.refused.set(name, Number.POSITIVE_INFINITY)
  }

  /** What a gate is for has not been there for longer than it takes to see it. */
  #checkGates(active: RolloutRecord): void {
    const { refused, counted } = this.#seen.get(active.id)!
    const forMs = (sinceMs: number): number => this.#nowMs - Math.max(sinceMs, this.#readyMs) - SLACK_MS
    for (const [name, ms] of refused)
      assert.ok(forMs(ms) < 0, `${name} has refused ${active.to}, and ${active.id} is ${active.state}`)
    for (const [name, countedMs] of counted) {
      const stuck = this.#stuckMs.get(name)
      const lostMs = this.#awayMs.get(name) ?? (stuck?.revision === active.to ? stuck.sinceMs : this.#nowMs)
      assert.ok(
        forMs(Math.max(lostMs, countedMs)) < active.awayMs,
        `${name} is lost, and ${active.id} is ${active.state}`,
      )
    }
  }
}
