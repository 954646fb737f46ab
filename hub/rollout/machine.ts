/**
 * A rollout as a pure state machine: what is seen of the devices and how much time has passed goes in, the next state
 * comes out. It ends whatever it sees: each wave takes its soak, and `awayMs` more at most.
 */
import { findOpenGate, parseHalt, type Evidence, type Traffic } from './halt.ts'
import { isWithin, type DeviceOf, type Scope } from './scope.ts'
import { findWave, type Plan } from './waves.ts'

export type RolloutState = 'running' | 'paused' | 'completed' | 'halted' | 'aborted' | 'superseded' | 'undone'
export type Rollout = Plan & {
  readonly id: string
  readonly to: string
  readonly scope: Scope
  /** As they were written. */
  readonly waves: string
  readonly halt: string
  readonly soakMs: number
  /** Who was there and is away for longer is lost; so is who neither takes the revision nor refuses it. */
  readonly awayMs: number
  readonly state: RolloutState
  /** The one that began last, from 0. */
  readonly wave: number
  /** For so long that wave has been under way, while the rollout ran. */
  readonly soakedMs: number
  /** Why it is in this state. */
  readonly reason: string
}
export type DeviceView = DeviceOf & {
  readonly connected: boolean
  /** Revision that it has in force as a whole. */
  readonly revision: string | undefined
  /** What it says of resources that it refuses. */
  readonly refused: string | undefined
  readonly traffic: CountedTraffic | undefined
  /** What it says of listeners of its configuration that it cannot open. */
  readonly failed: readonly string[]
}
/** Since the device began. */
export type CountedTraffic = Traffic & { readonly startedMs: number }
/** A device of a wave that has begun. */
export type Tracked = {
  readonly wave: number
  /** It was away when its wave began: it does not count before it comes. */
  readonly isAwaited?: true
  /** As it was when its wave began: one that comes later may have refused the revision before it is seen. */
  readonly refused: string | undefined
  readonly traffic: CountedTraffic | undefined
  /** Undefined: not known, of a rollout that an earlier version began. */
  readonly failed?: readonly string[] | undefined
  /** So long it has been away now; and has been there without the revision, in all. */
  readonly awayMs: number
  readonly pendingMs: number
}
export type Watch = {
  readonly tracked: ReadonlyMap<string, Tracked>
  /** Of devices whose wave has not begun: what they had counted when the present one began. */
  readonly rest: ReadonlyMap<string, CountedTraffic>
}
export type Step = { readonly rollout: Rollout; readonly watch: Watch; readonly evidence: Evidence }

/** Of a device that the rollout is not for: it is one of the rest. */
const NO_WAVE = Number.POSITIVE_INFINITY
export const NOTHING_WATCHED: Watch = { tracked: new Map(), rest: new Map() }

export const isActive = ({ state }: Pick<Rollout, 'state'>): boolean => state === 'running' || state === 'paused'
/** Whether the device is to have the revision, as far as the waves have come. */
export function hasBegunFor(rollout: Rollout, name: string): boolean {
  const wave = findWave(rollout, name)
  return wave >= 0 && wave <= rollout.wave
}

/** @param elapsedMs since the step before; 0 for the first of a process */
export function advanceRollout(
  rollout: Rollout,
  watch: Watch,
  seen: { readonly devices: readonly DeviceView[]; readonly elapsedMs: number },
): Step {
  const elapsedMs = rollout.state === 'running' ? seen.elapsedMs : 0
  const next = { ...rollout, soakedMs: rollout.soakedMs + elapsedMs }
  const watched = follow(next, watch, seen)
  const evidence = collectEvidence(next, watched, seen.devices)
  const decided = decide(next, watched, { evidence, devices: seen.devices })
  if (decided.wave === next.wave) return { rollout: decided, watch: watched, evidence }
  const begun = watchWave(decided, seen.devices)
  return { rollout: decided, watch: { tracked: new Map([...watched.tracked, ...begun]), rest: new Map() }, evidence }
}

/** Before they are sent anything: who is there when the present wave begins, and who is away and refuses something. */
export function watchWave(rollout: Rollout, devices: readonly DeviceView[]): ReadonlyMap<string, Tracked> {
  const tracked = new Map<string, Tracked>()
  const { wave } = rollout
  for (const device of devices) {
    if (findDeviceWave(rollout, device) !== wave) continue
    if (device.connected) tracked.set(device.name, startTracking(device, wave))
    else if (device.refused !== undefined) tracked.set(device.name, { ...startTracking(device, wave), isAwaited: true })
  }
  return tracked
}

function follow(rollout: Rollout, watch: Watch, seen: Parameters<typeof advanceRollout>[2]): Watch {
  const tracked = new Map<string, Tracked>()
  const rest = new Map<string, CountedTraffic>()
  for (const device of seen.devices) {
    const { name, traffic } = device
    const wave = findDeviceWave(rollout, device)
    const known = watch.tracked.get(name)
    const comes = wave === rollout.wave && device.connected && rollout.soakedMs <= rollout.soakMs
    if (known && wave === NO_WAVE) tracked.set(name, known)
    else if (known && !known.isAwaited)
      tracked.set(name, age(known, device, { to: rollout.to, elapsedMs: seen.elapsedMs }))
    else if (comes)
      tracked.set(name, {
        ...startTracking(device, wave),
        ...(known ? { failed: known.failed } : {}),
        refused: known?.refused,
      })
    else if (known) tracked.set(name, known)
    else if (wave > rollout.wave && traffic) rest.set(name, watch.rest.get(name) ?? traffic)
  }
  // One that an operator has forgotten or revoked meanwhile is no device any more, and not lost.
  return { tracked, rest }
}

function findDeviceWave(rollout: Rollout, device: DeviceView): number {
  return isWithin(rollout.scope, device) ? findWave(rollout, device.name) : NO_WAVE
}
function startTracking({ refused, traffic, failed }: DeviceView, wave: number): Tracked {
  return { wave, refused, traffic, failed, awayMs: 0, pendingMs: 0 }
}

function age(known: Tracked, device: DeviceView, p: { to: string; elapsedMs: number }): Tracked {
  if (!device.connected) return { ...known, awayMs: known.awayMs + p.elapsedMs }
  const pendingMs = device.revision === p.to ? 0 : known.pendingMs + p.elapsedMs
  return known.awayMs === 0 && pendingMs === known.pendingMs ? known : { ...known, awayMs: 0, pendingMs }
}

/** What the gates look at. */
export function collectEvidence(rollout: Rollout, { tracked, rest }: Watch, devices: readonly DeviceView[]): Evidence {
  const byName = new Map(devices.map((device) => [device.name, device]))
  const rejected: string[] = []
  const lost: string[] = []
  const [traffic, before, others] = [new Sum(), new Sum(), new Sum()]
  const counting = listCounted(rollout, tracked, byName)
  for (const [name, known] of counting) {
    const device = byName.get(name)
    if (device && isRejected(known, device)) rejected.push(name)
    else if (known.awayMs >= rollout.awayMs || known.pendingMs >= rollout.awayMs) lost.push(name)
    before.add(known.traffic)
    traffic.addSince(known.traffic, device?.traffic)
  }
  for (const [name, counted] of rest) others.addSince(counted, byName.get(name)?.traffic)
  return { devices: counting.length, rejected, lost, traffic, before, rest: others }
}

/** One that has other labels meanwhile is sent something else, and has no part in it any more. */
export function listCounted(
  rollout: Rollout,
  tracked: Watch['tracked'],
  byName: ReadonlyMap<string, DeviceView>,
): readonly (readonly [string, Tracked])[] {
  return [...tracked].filter(([name, { isAwaited }]) => {
    const device = byName.get(name)
    return !isAwaited && (!device || isWithin(rollout.scope, device))
  })
}

/** It refuses something, or cannot open something, that it did not before. */
const isRejected = (known: Tracked, { refused, failed }: DeviceView): boolean =>
  (refused !== undefined && refused !== known.refused) ||
  (known.failed !== undefined && failed.some((what) => !known.failed!.includes(what)))

class Sum implements Traffic {
  requests = 0
  failures = 0

  add(counted: Traffic | undefined): void {
    this.requests += counted?.requests ?? 0
    this.failures += counted?.failures ?? 0
  }
  /** What a device counted before it was started anew is no part of what it has counted since. */
  addSince(before: CountedTraffic | undefined, now: CountedTraffic | undefined): void {
    if (!now) return
    const isSame = before?.startedMs === now.startedMs
    this.requests += Math.max(0, now.requests - (isSame ? before.requests : 0))
    this.failures += Math.max(0, now.failures - (isSame ? before.failures : 0))
  }
}

function decide(
  rollout: Rollout,
  { tracked }: Watch,
  seen: { readonly evidence: Evidence; readonly devices: readonly DeviceView[] },
): Rollout {
  if (!isActive(rollout)) return rollout
  const open = findOpenGate(parseHalt(rollout.halt), seen.evidence)
  if (open !== undefined) return { ...rollout, state: 'halted', reason: open }
  if (rollout.state === 'paused' || rollout.soakedMs < rollout.soakMs) return rollout
  if (rollout.soakedMs < rollout.soakMs + rollout.awayMs && isUndecided(rollout, tracked, seen)) return rollout
  if (rollout.wave < rollout.upTo.length - 1) return { ...rollout, wave: rollout.wave + 1, soakedMs: 0 }
  return { ...rollout, state: 'completed', reason: 'every wave has soaked' }
}

/** Some neither have it, nor refuse it, nor are lost. */
function isUndecided(
  rollout: Rollout,
  tracked: Watch['tracked'],
  { evidence, devices }: { readonly evidence: Evidence; readonly devices: readonly DeviceView[] },
): boolean {
  const byName = new Map(devices.map((device) => [device.name, device]))
  const decided = new Set([...evidence.rejected, ...evidence.lost])
  for (const device of devices) if (device.connected && device.revision === rollout.to) decided.add(device.name)
  return listCounted(rollout, tracked, byName).some(([name]) => !decided.has(name))
}
