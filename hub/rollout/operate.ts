/** What an operator decides about revisions: start a rollout, hold it, end it, go back. */
import { randomUUID } from 'node:crypto'
import { MeshError } from '../../core/errors.ts'
import type { AuditEvent } from '../registry/audit.ts'
import type { Registry } from '../registry/registry.ts'
import type { RolloutRecord } from '../registry/rollout/rollouts.ts'
import { applyAssignment, listRevisions } from './desired.ts'
import { listDevices, readFleet, readReports } from './fleet.ts'
import { parseHalt } from './halt.ts'
import { isActive, watchWave, type RolloutState } from './machine.ts'
import { formatScope, isWithin, type Scope } from './scope.ts'
import { formatWaves, parseWaves, planWaves } from './waves.ts'

/** Who, from where, when, and in their words why. */
export type Operator = {
  readonly actor: string
  readonly address: string
  readonly nowMs: number
  readonly why?: string | undefined
}
export type RolloutPlan = {
  /** Id of a revision, or how it begins. */
  readonly to: string
  readonly scope: Scope
  readonly waves: string
  readonly halt: string
  readonly soakMs: number
  readonly awayMs: number
  /** Of a preview, for the same waves; left out: a new one. */
  readonly id?: string | undefined
  /** At once, without waves and gates. */
  readonly now?: boolean
}

/** Distinct revisions that devices are to have at one time: each is in memory whole. */
const MAX_LIVE = 8
export const MAX_ID_CHARS = 8

/**
 * Rejects with MESH_CONFIG_INVALID: no such revision, another rollout is under way, waves or gates that cannot be read.
 */
export function startRollout(registry: Registry, plan: RolloutPlan, by: Operator): Promise<RolloutRecord> {
  return registry.exclusively((tx) => beginRollout(tx, plan, by))
}

/** Within a transaction. @param replaces ends the one that is under way, whatever it was for */
export async function beginRollout(
  tx: Registry,
  plan: RolloutPlan,
  by: Operator,
  replaces: 'nothing' | 'active' = 'nothing',
): Promise<RolloutRecord> {
  const { id: to } = await tx.revisions.find(plan.to)
  const waves = formatWaves(parseWaves(plan.waves))
  parseHalt(plan.halt)
  const { assignments, active } = await tx.rollouts.desired()
  if (active && replaces === 'nothing')
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      `the rollout ${active.id} of ${active.to} is ${active.state}; meshlet-hub rollout abort ends it`,
    )
  if (assignments.length === 0 && plan.scope.kind !== 'all')
    throw new MeshError('MESH_CONFIG_INVALID', 'the first revision is for all devices')
  const next = applyAssignment(assignments, { scope: plan.scope, revision: to })
  if (listRevisions({ assignments: next, active: undefined }).size > MAX_LIVE)
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      `devices would be at more than ${MAX_LIVE} revisions at once; bring those of some labels together first`,
    )
  if (active) await finish(tx, active, 'superseded', { ...by, why: `revision ${to} takes its place` })
  const devices = (await listDevices(tx)).filter((device) => isWithin(plan.scope, device))
  const id = plan.id ?? randomUUID().slice(0, MAX_ID_CHARS)
  if (plan.id !== undefined && (await tx.rollouts.get(id)))
    throw new MeshError('MESH_CONFIG_INVALID', `there was a rollout ${id} already; look at the waves anew`)
  const isNow = plan.now === true || assignments.length === 0
  const rollout: RolloutRecord = {
    ...planWaves(id, parseWaves(isNow ? '100%' : waves), devices),
    id,
    to,
    scope: plan.scope,
    waves: isNow ? '100%' : waves,
    halt: plan.halt,
    soakMs: plan.soakMs,
    awayMs: plan.awayMs,
    state: isNow ? 'completed' : 'running',
    wave: 0,
    soakedMs: 0,
    reason: isNow ? 'at once' : '',
    startedMs: by.nowMs,
    endedMs: isNow ? by.nowMs : null,
    by: by.actor,
    before: assignments,
    sequence: 0,
  }
  await tx.rollouts.add(rollout)
  if (!isNow) await tx.rollouts.track(id, watchWave(rollout, await readFleet(tx, await readReports(tx))))
  if (isNow) await tx.rollouts.setAssignments(next)
  const told = isNow ? 'at once' : `waves ${rollout.waves}, soak ${rollout.soakMs / 1_000} s, halt ${rollout.halt}`
  await note(tx, 'rollout.started', rollout, {
    ...by,
    why: withWhy(`to ${to} for ${formatScope(plan.scope)}, ${told}`, by),
  })
  return rollout
}

/**
 * These, and those that follow, take the id of the rollout that is meant, where the operator has seen one: they reject
 * with MESH_CONFIG_INVALID when it is another's turn meanwhile.
 */

/** No further wave begins; the gates go on. Rejects with MESH_CONFIG_INVALID when none runs. */
export function pauseRollout(registry: Registry, by: Operator, id?: string): Promise<RolloutRecord> {
  return change(registry, { from: 'running', to: 'paused', id }, by)
}
/** Rejects with MESH_CONFIG_INVALID when none is paused. */
export function resumeRollout(registry: Registry, by: Operator, id?: string): Promise<RolloutRecord> {
  return change(registry, { from: 'paused', to: 'running', id }, by)
}
/** Devices go back to what was good last. Rejects with MESH_CONFIG_INVALID when none is under way. */
export function abortRollout(registry: Registry, by: Operator, id?: string): Promise<RolloutRecord> {
  return registry.exclusively(async (tx) => finish(tx, await findActive(tx, id), 'aborted', by))
}

/**
 * Devices go back to what was in force before the newest rollout, at once. Rejects with MESH_CONFIG_INVALID when it
 * changed nothing, or another is under way.
 */
export function undoRollout(registry: Registry, by: Operator, id?: string): Promise<RolloutRecord> {
  return registry.exclusively(async (tx) => {
    if (await tx.rollouts.active())
      throw new MeshError('MESH_CONFIG_INVALID', 'a rollout is under way; meshlet-hub rollout abort ends it')
    const last = await findUndoable(tx)
    if (!last)
      throw new MeshError('MESH_CONFIG_INVALID', 'there is no rollout to undo; meshlet-hub rollout list shows them')
    checkMeant(last, id)
    await tx.rollouts.setAssignments(last.before)
    return await finish(tx, last, 'undone', by)
  })
}

/** The one that `undoRollout` is about; undefined: there is none, or another is under way. */
export async function findUndoable(registry: Registry): Promise<RolloutRecord | undefined> {
  const all = await registry.rollouts.list(1_000)
  if (all.some(isActive)) return undefined
  const last = all.find(({ state }) => state === 'completed' || state === 'undone')
  return last?.state === 'completed' && last.before.length > 0 ? last : undefined
}

type Change = { readonly from: RolloutState; readonly to: RolloutState; readonly id: string | undefined }
async function change(registry: Registry, { from, to, id }: Change, by: Operator): Promise<RolloutRecord> {
  return await registry.exclusively(async (tx) => {
    const active = await findActive(tx, id)
    if (active.state !== from) throw new MeshError('MESH_CONFIG_INVALID', `the rollout ${active.id} is ${active.state}`)
    return await finish(tx, active, to, by)
  })
}

async function findActive(tx: Registry, id: string | undefined): Promise<RolloutRecord> {
  const active = await tx.rollouts.active()
  if (!active)
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      'no rollout is under way; meshlet-hub rollout list shows those that were',
    )
  checkMeant(active, id)
  return active
}
function checkMeant(found: RolloutRecord, id: string | undefined): void {
  if (id !== undefined && id !== found.id)
    throw new MeshError('MESH_CONFIG_INVALID', `it is the turn of rollout ${found.id}, not of ${id.slice(0, 64)}`)
}

const EVENTS = {
  paused: 'rollout.paused',
  running: 'rollout.resumed',
  aborted: 'rollout.aborted',
  superseded: 'rollout.superseded',
  undone: 'rollout.undone',
  halted: 'rollout.halted',
  completed: 'rollout.completed',
} as const satisfies Record<RolloutState, AuditEvent>

async function finish(tx: Registry, rollout: RolloutRecord, state: RolloutState, by: Operator): Promise<RolloutRecord> {
  const reason = by.why ?? ''
  const endedMs = isActive({ state }) ? null : by.nowMs
  const changed = await tx.rollouts.update({ ...rollout, state, reason, endedMs })
  if (!changed) throw new MeshError('MESH_INTERNAL', `the rollout ${rollout.id} changed within a transaction`)
  await note(tx, EVENTS[state], changed, { ...by, why: withWhy(`to ${changed.to}, wave ${changed.wave + 1}`, by) })
  return changed
}

const withWhy = (what: string, { why }: Operator): string =>
  why === undefined || why === '' ? what : `${what}: ${why}`

async function note(tx: Registry, event: AuditEvent, { id }: RolloutRecord, by: Operator): Promise<void> {
  await tx.audit.add({ atMs: by.nowMs, actor: by.actor, address: by.address, event, subject: id, detail: by.why ?? '' })
}

/** What the machine has decided, written down: who drives says so. */
export async function recordDecision(
  registry: Registry,
  before: RolloutRecord,
  next: RolloutRecord,
  by: Operator,
): Promise<RolloutRecord | undefined> {
  return await registry.exclusively(async (tx) => {
    const ended = !isActive(next)
    const changed = await tx.rollouts.update({ ...next, endedMs: ended ? by.nowMs : null })
    if (!changed) return undefined
    if (next.state === 'completed')
      await tx.rollouts.setAssignments(
        applyAssignment(await tx.rollouts.assignments(), { scope: next.scope, revision: next.to }),
      )
    const where = `to ${next.to}, wave ${next.wave + 1} of ${next.upTo.length}`
    if (next.state !== before.state)
      await note(tx, EVENTS[next.state], next, { ...by, why: `${where}: ${next.reason}` })
    else if (next.wave !== before.wave) await note(tx, 'rollout.wave', next, { ...by, why: where })
    return changed
  })
}
