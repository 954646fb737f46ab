/**
 * What becomes of a change of the folder: it is taken as a revision, and goes to the devices by the default policy of
 * hub.yaml. One that takes away most of what devices have, or that comes while an operator's rollout is under way, waits
 * for an operator's word.
 */
import fs from 'node:fs/promises'
import path from 'node:path'
import { createHash } from 'node:crypto'
import type { Clock, Timer } from '../../core/os/clock.ts'
import { detach, doNothing, guard } from '../../core/defects/guard.ts'
import { MeshError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
import { waitForNextTurn } from '../../core/os/time-slice.ts'
import type { OpenRegistry, Registry } from '../registry/registry.ts'
import type { FolderState } from '../registry/rollout/rollouts.ts'
import type { FolderFound, FolderRevision, RevisionFile } from '../source/folder.ts'
import type { LiveRevisions } from '../source/live-revisions.ts'
import { listRevisions } from './desired.ts'
import { listDevices } from './fleet.ts'
import { formatGate, NO_GATES, parseHalt } from './halt.ts'
import { abortRollout, beginRollout, type Operator, type RolloutPlan } from './operate.ts'
import { explainBehind, type HubOfFolder } from './folder-order.ts'
import { findRemovalOfMost } from './removals.ts'
import { EVERYBODY } from './scope.ts'

export type DefaultPolicy = {
  readonly default: 'waves' | 'all'
  /** With fewer devices, all at once. */
  readonly atOnceBelow: number
  readonly waves: string
  readonly soakSec: number
  readonly awaySec: number
  readonly halt: string
}
export type FolderPolicyOptions = {
  readonly folder: string
  readonly policy: DefaultPolicy
  readonly registry: OpenRegistry
  readonly live: LiveRevisions
  readonly holder: string
  /** Undefined: there is no other hub on the registry. */
  readonly hub?: HubOfFolder | undefined
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  /** Devices are sent what is decided. */
  readonly decided: () => Promise<void>
}

type NewFolder = Omit<FolderState, 'seenMs'>

const LEASE = 'folder'
/** To read and to store a large folder. */
const LEASE_MS = 60_000
const HUB = 'hub'
/** The registry cannot be used, or another process takes its folder. */
const AGAIN_MS = 5_000
/** Rollouts that are looked through for the one that `undo` is about. */
const LOOKED_BACK = 100
const HASH_BYTES = 1024 * 1024

export class FolderPolicy implements Disposable {
  readonly #o: FolderPolicyOptions
  readonly #problems
  readonly #isInvalid
  readonly #isBehind
  #told: ReadonlySet<string> = new Set()
  #work: Promise<void> = Promise.resolve()
  #later: Timer | undefined
  #newest: FolderFound | undefined
  #isOver = false

  constructor(o: FolderPolicyOptions) {
    this.#o = o
    this.#problems = o.metrics.counter(
      'mesh_hub_resource_problems_total',
      'Mistakes that the hub found in resource files, each once until it is corrected.',
    )
    this.#isInvalid = o.metrics
      .gauge(
        'mesh_hub_folder_invalid',
        '1: what stands in the resources folder is no revision, and an earlier one serves.',
      )
      .cell({})
    this.#isBehind = o.metrics
      .gauge('mesh_hub_folder_behind', '1: the resources folder is not that of the other hubs, and changes nothing.')
      .cell({})
  }

  /** One after the other. */
  found(found: FolderFound): void {
    this.#later?.cancel()
    this.#newest = found
    this.#work = this.#work.then(() => this.#safely(found))
    detach('hub', this.#work)
  }
  /** Resolves when everything that was found is settled. */
  get settled(): Promise<void> {
    return this.#work
  }

  [Symbol.dispose](): void {
    this.#isOver = true
    this.#later?.cancel()
  }

  async #safely(found: FolderFound): Promise<void> {
    const { registry, log, clock, holder } = this.#o
    this.#report(found.kind === 'invalid' ? found.problems : [])
    try {
      if (!(await registry.rollouts.lease(LEASE, holder, { nowMs: clock.wallMs(), forMs: LEASE_MS }))) {
        this.#again(found)
        return
      }
      const before = await registry.rollouts.folder()
      const next =
        found.kind === 'invalid' ? { ...before, problems: found.problems } : await this.#decide(found.revision, before)
      await registry.rollouts.setFolder({ ...next, seenMs: clock.wallMs() })
      await registry.rollouts.release(LEASE, holder)
      log.info(
        { evt: 'hub.folder', revision: next.revision, problems: next.problems.length },
        'resources folder looked at',
      )
    } catch (err) {
      log.warn({ evt: 'hub.folder-failed', err }, 'the resources folder is not taken; what was in force serves on')
      this.#again(found)
    }
  }

  /** Unless something newer has been found, or is until then: what stood in the folder before must not come back. */
  #again(found: FolderFound): void {
    if (this.#isOver || found !== this.#newest) return
    this.#later = this.#o.clock.after(
      AGAIN_MS,
      guard('hub', doNothing, () => this.found(found)),
    )
  }

  #report(problems: readonly string[]): void {
    this.#isInvalid.value = problems.length > 0 ? 1 : 0
    for (const problem of problems) {
      if (this.#told.has(problem)) continue
      this.#problems.cell({}).value++
      this.#o.log.warn(
        { evt: 'hub.resource-refused', problem },
        'mistake in the resources folder: nothing of it counts, the revision in force serves on',
      )
    }
    this.#told = new Set(problems)
  }

  async #decide(revision: FolderRevision, before: FolderState): Promise<NewFolder> {
    const { registry, hub, clock, log } = this.#o
    const { id, files } = revision
    // A hub that waits for its resources: what comes is the first.
    if (files.length === 0 && before.revision === undefined) return { ...before, problems: [] }
    if (!hub) return await this.#take(revision, before)
    const behind = (await explainBehind(registry, hub, { id, newest: before })) ?? ''
    // An operator may bring it to devices all the same.
    if (behind !== '') await this.#keep(revision, clock.wallMs())
    const next = behind === '' ? await this.#take(revision, before) : { ...before, problems: [] }
    const { host } = hub
    await registry.rollouts.setFolderOf(hub.id, { host, revision: id, behind, seenMs: clock.wallMs() })
    this.#isBehind.value = behind === '' ? 0 : 1
    if (behind !== '')
      log.warn(
        { evt: 'hub.folder-behind', host, revision: id, newest: before.revision },
        `the resources folder of this hub ${behind}: it changes nothing; make it equal to that of the others`,
      )
    return next
  }

  async #keep(revision: FolderRevision, nowMs: number): Promise<void> {
    const { registry, live, log } = this.#o
    const { id, files } = revision
    const compiled = await live.add(revision)
    const readSource = (file: RevisionFile): Promise<Buffer> => this.#read(file)
    if (!(await registry.revisions.add({ revision, nowMs, readSource }))) return
    log.info({ evt: 'hub.resources', revision: id, files: files.length, resources: compiled.count }, 'revision taken')
    const detail = `${files.length} file(s), ${compiled.count} resource(s)`
    await registry.audit.add({ atMs: nowMs, actor: HUB, address: '', event: 'revision.taken', subject: id, detail })
    // Together: an operator may be about to go back to one of the oldest.
    await registry.exclusively(async (tx) => tx.revisions.prune(await listUsed(tx, id)))
  }

  async #take(revision: FolderRevision, before: FolderState): Promise<NewFolder> {
    const { clock, log } = this.#o
    const { id } = revision
    const nowMs = clock.wallMs()
    await this.#keep(revision, nowMs)
    const by: Operator = { actor: HUB, address: '', nowMs, why: 'the folder has changed' }
    const folder = { revision: id, problems: [], held: '' }
    // Whatever has become of it: an operator may have gone back since.
    if (id === before.revision) return { ...folder, held: before.held }
    const held = await this.#rollOut(id, by)
    if (held !== '')
      log.warn(
        { evt: 'hub.folder-held', revision: id, reason: held },
        `the revision waits: meshlet-hub rollout start --to ${id}`,
      )
    return { ...folder, held }
  }

  /** @returns why not; '' when devices get it */
  async #rollOut(id: string, by: Operator): Promise<string> {
    const { registry, live, policy, decided } = this.#o
    const { assignments, active } = await registry.rollouts.desired()
    const base = assignments.find(({ scope }) => scope.kind === 'all')?.revision
    if (active?.to === id) return ''
    if (active && active.by !== HUB) return `the rollout ${active.id} of an operator is under way`
    if (base === id) {
      if (active) await abortRollout(registry, { ...by, why: 'the folder is as it was before' })
      await decided()
      return ''
    }
    const devices = (await listDevices(registry)).length
    if (base !== undefined) {
      const removed = findRemovalOfMost(await live.get(base), await live.get(id), {
        isFleet: devices >= policy.atOnceBelow,
      })
      if (removed !== undefined) return removed
    }
    const plan = planOf(policy, id, devices)
    await registry.exclusively(async (tx) => {
      await beginRollout(tx, plan, by, 'active')
      // Together: a hub that ends between the two would try it again once it has halted.
      await tx.rollouts.setFolder({ revision: id, problems: [], held: '', seenMs: by.nowMs })
    })
    await decided()
    return ''
  }

  /** As it was read before: what has changed since is the next revision. */
  async #read({ path: file, hash }: RevisionFile): Promise<Buffer> {
    const bytes = await fs.readFile(path.join(this.#o.folder, file))
    const found = createHash('sha256')
    for (let at = 0; at < bytes.length; at += HASH_BYTES) {
      found.update(bytes.subarray(at, at + HASH_BYTES))
      if (bytes.length > HASH_BYTES) await waitForNextTurn()
    }
    if (found.digest('hex') !== hash)
      throw new MeshError('MESH_CONFIG_INVALID', `${file} has changed while it was taken; it is looked at again`)
    return bytes
  }
}

async function listUsed({ rollouts, fleet }: Registry, id: string): Promise<ReadonlySet<string>> {
  const ofUndo = (await rollouts.list(LOOKED_BACK)).find(({ state }) => state === 'completed')?.before ?? []
  const { revision: newest = id } = await rollouts.folder()
  const desired = listRevisions(await rollouts.desired())
  // What a device has that has been away for long can still be compared with what it gets.
  return new Set([id, newest, ...desired, ...(await fleet.revisions()), ...ofUndo.map(({ revision }) => revision)])
}

/** Of a handful of devices, one that is switched off says nothing about the revision. */
function planOf(policy: DefaultPolicy, to: string, devices: number): RolloutPlan {
  const isAtOnce = policy.default === 'all' || devices < policy.atOnceBelow
  const gates = parseHalt(policy.halt).filter(({ what }) => what !== 'lost')
  return {
    to,
    scope: EVERYBODY,
    waves: isAtOnce ? '100%' : policy.waves,
    halt: !isAtOnce ? policy.halt : gates.length === 0 ? NO_GATES : gates.map(formatGate).join(', '),
    soakMs: policy.soakSec * 1_000,
    awayMs: policy.awaySec * 1_000,
  }
}
