/** Rollouts and revisions, beside the hub. */
import { systemClock } from '../../../core/os/clock.ts'
import type { RolloutItem } from '../../console/rollout-schemas.ts'
import type { RolloutRecord } from '../../registry/rollout/rollouts.ts'
import { describeRollout, readRolloutStatus, type RolloutStatus } from '../../reports/rollout-status.ts'
import { compareRevisions } from '../../rollout/diff.ts'
import {
  abortRollout,
  pauseRollout,
  resumeRollout,
  startRollout,
  undoRollout,
  type Operator,
} from '../../rollout/operate.ts'
import { makeScope } from '../../rollout/scope.ts'
import { describeUses } from '../../rollout/uses.ts'
import { listDeviceRevisions, type DeviceRevision } from '../../rollout/who.ts'
import { nameOperator } from '../open.ts'
import type {
  ComparedRevisions,
  RevisionOperations,
  RolloutChange,
  RolloutOperations,
  RolloutWish,
} from './operations.ts'
import type { Beside } from './local-devices.ts'

const SHOWN = 100
const CHANGES = { pause: pauseRollout, resume: resumeRollout, abort: abortRollout, undo: undoRollout } as const

export class LocalRollouts implements RolloutOperations {
  readonly #at: Beside
  constructor(at: Beside) {
    this.#at = at
  }

  async start({ to, labels, device, why, ...o }: RolloutWish): Promise<RolloutItem> {
    const { rollout: policy } = this.#at.config
    const plan = {
      to,
      scope: makeScope({ labels, device }),
      waves: o.waves ?? policy.waves,
      halt: o.halt ?? policy.halt,
      soakMs: (o.soakSec ?? policy.soakSec) * 1_000,
      awayMs: (o.awaySec ?? policy.awaySec) * 1_000,
      now: o.now,
    }
    return describeRollout(await startRollout(this.#at.registry, plan, this.#operator(why)))
  }
  async change(what: RolloutChange, why: string | undefined): Promise<RolloutItem> {
    return describeRollout(await CHANGES[what](this.#at.registry, this.#operator(why)))
  }
  async status(): Promise<RolloutStatus> {
    return await readRolloutStatus(this.#at.registry)
  }
  async list(): Promise<readonly RolloutRecord[]> {
    return await this.#at.registry.rollouts.list(SHOWN)
  }

  #operator(why: string | undefined): Operator {
    return { actor: nameOperator(this.#at.io), address: '', nowMs: systemClock.wallMs(), why }
  }
}

export class LocalRevisions implements RevisionOperations {
  readonly #at: Beside
  constructor(at: Beside) {
    this.#at = at
  }

  async list(): ReturnType<RevisionOperations['list']> {
    const { registry } = this.#at
    const uses = await describeUses(registry)
    return {
      rows: (await registry.revisions.list()).map((row) => ({ ...row, use: uses(row.id) })),
      folder: await registry.rollouts.folder(),
    }
  }
  async show(id: string): ReturnType<RevisionOperations['show']> {
    const { revisions } = this.#at.registry
    const row = await revisions.find(id)
    return { row, files: await revisions.manifest(row.id) }
  }
  async compare(from: string, to: string): Promise<ComparedRevisions> {
    const { registry } = this.#at
    const [{ id: before }, { id: after }] = [await registry.revisions.find(from), await registry.revisions.find(to)]
    return { before, after, diffs: await compareRevisions(registry, before, after), isCut: false }
  }
  async who(text: string | undefined): Promise<readonly DeviceRevision[]> {
    const { registry } = this.#at
    const id = text === undefined ? undefined : (await registry.revisions.find(text)).id
    const all = await listDeviceRevisions(registry)
    return id === undefined ? all : all.filter(({ desired, inForce }) => desired === id || inForce === id)
  }
}
