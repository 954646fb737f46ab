/**
 * Rollouts under whatever operators, devices, clocks and processes do, in any order: what holds of each of them stands in
 * model-oracle.ts. A script that breaks it is shortened and printed with its seed.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { MeshError } from '../../../core/errors.ts'
import { isActive } from '../../../hub/rollout/machine.ts'
import {
  abortRollout,
  beginRollout,
  pauseRollout,
  resumeRollout,
  startRollout,
  undoRollout,
  type RolloutPlan,
} from '../../../hub/rollout/operate.ts'
import { EVERYBODY, type Scope } from '../../../hub/rollout/scope.ts'
import { ModelOracle } from './model-oracle.ts'
import { ModelSite, REVISIONS, type End, type Manner } from './model-site.ts'

const SEED = 20_261_201
const RUNS = 60
const STEP_MS = 2_000
const [SOAK_MS, AWAY_MS] = [24_000, 14_000]
const LONGEST_MS = 3 * (SOAK_MS + AWAY_MS + 30_000) + 180_000
const NORTH = { site: 'north' }
const SOUTH = { site: 'south' }
const NORTHERN: Scope = { kind: 'labels', labels: NORTH }
const ONE: Scope = { kind: 'device', name: 'gw-1' }

type Event =
  | { readonly do: 'start' | 'now' | 'replace'; readonly to: string; readonly scope: Scope; readonly waves: string }
  | { readonly do: 'pause' | 'resume' | 'abort' | 'undo' | 'join' }
  | { readonly do: 'pass' | 'hold'; readonly steps: number }
  | { readonly do: 'leave' | 'come' | 'remove' | 'relabel' | 'fail'; readonly device: number }
  | { readonly do: 'behave'; readonly device: number; readonly manner: Manner }
  | { readonly do: 'end'; readonly how: End }
  | { readonly do: 'clock'; readonly byMs: number }

const starts = fc.record({
  do: fc.constantFrom('start' as const, 'start' as const, 'now' as const, 'replace' as const),
  to: fc.constantFrom(...REVISIONS),
  scope: fc.constantFrom(EVERYBODY, NORTHERN, NORTHERN, ONE),
  waves: fc.constantFrom('30%,60%,100%', '50%,100%', '100%'),
})
const says = fc.record({ do: fc.constantFrom(...(['pause', 'resume', 'resume', 'abort', 'undo', 'join'] as const)) })
const device = fc.nat(7)
const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 3, arbitrary: starts },
  { weight: 3, arbitrary: says },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('pass', 'pass', 'pass', 'hold'),
      steps: fc.integer({ min: 1, max: 14 }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constantFrom('leave', 'come', 'come', 'remove', 'relabel', 'relabel', 'fail'),
      device,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('behave' as const),
      device,
      manner: fc.constantFrom('takes', 'refuses', 'ignores'),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('end' as const), how: fc.constantFrom('stop', 'crash') }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('clock' as const),
      byMs: fc.constantFrom(-3_600_000, -40_000, 40_000, 3_600_000, 31_536_000_000),
    }),
  },
)

class Script {
  readonly #site: ModelSite
  readonly #oracle: ModelOracle
  #rollouts = 0
  constructor(site: ModelSite) {
    this.#site = site
    this.#oracle = new ModelOracle(site)
  }

  async play(event: Event): Promise<void> {
    const site = this.#site
    if ('steps' in event) {
      if (event.do === 'hold') await this.play({ do: 'pause' })
      await this.#pass(event.steps)
      if (event.do === 'hold') await this.play({ do: 'resume' })
      return
    }
    if (event.do === 'end') await this.#restart(event.how)
    else if (event.do === 'clock') site.clock.setWallMs(site.clock.wallMs() + event.byMs)
    else if ('device' in event) await this.#ofDevice(event)
    else if (event.do === 'join') await site.join(NORTH)
    else await this.#operate(event)
    await site.serve()
    await this.#oracle.check(0)
  }

  async #operate(
    event: Exclude<Event, { device: number } | { do: 'pass' | 'hold' | 'end' | 'clock' | 'join' }>,
  ): Promise<void> {
    const { registry } = this.#site
    const by = this.#site.operator()
    try {
      if ('to' in event) {
        // Who is in which wave follows from the id: the same script has the same waves.
        const plan: RolloutPlan = { ...event, ...PLAN, id: `rollout-${++this.#rollouts}`, now: event.do === 'now' }
        if (event.do !== 'replace') await startRollout(registry, plan, by)
        else await registry.exclusively((tx) => beginRollout(tx, plan, by, 'active'))
      } else await OPERATIONS[event.do as keyof typeof OPERATIONS](registry, by)
    } catch (err) {
      // It is not the moment for it: nothing has changed, as the oracle sees.
      if (!(err instanceof MeshError) || err.code !== 'MESH_CONFIG_INVALID') throw err
    }
  }

  async #ofDevice(event: Extract<Event, { device: number }>): Promise<void> {
    const site = this.#site
    const device = site.devices[event.device % site.devices.length]!
    if (event.do === 'leave') site.disconnect(device)
    else if (event.do === 'come') await site.connect(device)
    else if (event.do === 'fail') {
      await site.fails(device)
      this.#oracle.failed()
    } else if (event.do === 'behave') {
      device.manner = event.manner
      await site.offerAgain(device)
    } else {
      this.#oracle.changed(device)
      if (event.do === 'remove') await site.remove(device)
      else await site.rejoin(device, device.labels === NORTH ? SOUTH : NORTH)
    }
  }

  /** Another process finds what the one before has left. */
  async #restart(how: End): Promise<void> {
    const look = async () => {
      const { assignments, active } = await this.#site.registry.rollouts.desired()
      return { assignments, active: active && { ...active, soakedMs: 0 } }
    }
    const before = await look()
    await this.#site.restart(how)
    if (how === 'crash') this.#oracle.crashed()
    else this.#oracle.interrupted()
    assert.deepEqual(await look(), before, 'a restart changes nothing')
  }

  async #pass(steps: number): Promise<void> {
    for (let i = 0; i < steps; i++) {
      await this.#site.pass(STEP_MS)
      await this.#oracle.check(STEP_MS)
    }
  }

  /** Once all is well again, what is under way ends. */
  async end(): Promise<void> {
    const { registry, devices } = this.#site
    for (const [i, { isRemoved }] of devices.entries()) {
      if (isRemoved) continue
      await this.play({ do: 'behave', device: i, manner: 'takes' })
      await this.play({ do: 'come', device: i })
    }
    await this.play({ do: 'resume' })
    for (let ms = 0; ms < LONGEST_MS && (await registry.rollouts.active()); ms += STEP_MS) await this.#pass(1)
    assert.ok(!(await registry.rollouts.list(100)).some(isActive), 'it ends')
    await this.#oracle.checkAudit()
    for (const r of await registry.rollouts.list(100))
      console.log('STAT', r.state, r.state === 'halted' ? r.reason.slice(0, 8) : '', 'w' + r.wave)
  }
}

const PLAN = { halt: 'rejected>0, lost>0, errors>2x', soakMs: SOAK_MS, awayMs: AWAY_MS }
const OPERATIONS = { pause: pauseRollout, resume: resumeRollout, abort: abortRollout, undo: undoRollout } as const

/** What has been found with more runs than these. */
const FOUND: readonly (readonly Event[])[] = [
  [
    { do: 'start', to: 'rev-c', scope: NORTHERN, waves: '30%,60%,100%' },
    { do: 'pass', steps: 1 },
    ...[0, 1, 3, 5].map((one): Event => ({ do: 'relabel', device: one })),
  ],
]

test('a rollout keeps to its waves, its soak and its gates, and tells each decision, whatever happens', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 25, size: 'max' }), async (events) => {
      await using site = await ModelSite.open([NORTH, NORTH, SOUTH, NORTH, SOUTH, NORTH])
      const script = new Script(site)
      await script.play({ do: 'now', to: REVISIONS[0]!, scope: EVERYBODY, waves: '100%' })
      for (const one of events) await script.play(one)
      await script.end()
    }),
    { seed: SEED, numRuns: RUNS, examples: FOUND.map((events) => [[...events]]) },
  )
})
