/**
 * What changes, told to the pages that are open: once a second the fleet and the audit log are compared with what they
 * were, while anybody listens. The newest events are kept, so that a page whose connection broke misses none.
 */
import { detach } from '../../../core/defects/guard.ts'
import type { Clock, Timer } from '../../../core/os/clock.ts'
import type { Log } from '../../../core/log.ts'
import type { AuditLog } from '../../registry/audit.ts'
import type { Reports } from '../../registry/reports.ts'
import type { Operator } from '../access.ts'
import type { DeviceRow } from '../schemas.ts'
import { findChanges, type FleetView } from './view.ts'

const LOOK_MS = 1_000
const MAX_KEPT = 500
/** More at once, and a page asks anew. */
const MAX_CHANGES = 200
const MAX_AUDIT = 100
/** Reports that are looked at: the newest, since clocks of hubs differ by no more than comes meanwhile. */
const MAX_REPORTED = 500

export type Topic = 'enrolment' | 'tokens' | 'rollouts' | 'audit'
type Named = { readonly name: string; readonly namespace: string }
export type ConsoleEvent = { readonly id: number } & (
  | {
      readonly kind: 'devices'
      readonly changed: readonly DeviceRow[]
      readonly removed: readonly Named[]
    }
  /** Reports of these came. */
  | { readonly kind: 'reported'; readonly devices: readonly Named[] }
  | { readonly kind: 'changed'; readonly topics: readonly Topic[] }
  | { readonly kind: 'reset' }
  /** From here on nothing is missed. */
  | { readonly kind: 'ready' }
)
export type Listener = (event: ConsoleEvent) => void

type EventSources = {
  readonly view: FleetView
  readonly audit: AuditLog
  readonly reports: Pick<Reports, 'newest'>
  readonly clock: Clock
  readonly log: Log
}

export class Events implements Disposable {
  /** Of this run: ids of another hub, or of a run before, are none of ours. */
  readonly epoch: string
  readonly #o: EventSources
  readonly #listeners = new Set<Listener>()
  /** There is nothing yet that the fleet could be compared with. */
  readonly #newcomers = new Set<Listener>()
  #kept: ConsoleEvent[] = []
  #lastId = 0
  #rows: ReadonlyMap<string, DeviceRow> | undefined
  #auditId: number | undefined
  /** When the newest reports came, by the names of their devices. */
  #reported: ReadonlyMap<string, number> | undefined
  #timer: Timer | undefined

  constructor(o: EventSources & { readonly epoch: string }) {
    this.#o = o
    this.epoch = o.epoch
  }

  /**
   * What the page has may be older than what is compared from here on, so it hears `reset` or what it missed, and then
   * `ready`.
   * @param lastEventId of the page's last connection
   * @returns its end
   */
  listen(listener: Listener, lastEventId?: string): Disposable {
    if (this.#rows === undefined) this.#newcomers.add(listener)
    else this.#welcome(listener, lastEventId)
    this.#timer ??= this.#o.clock.after(0, this.#look)
    return {
      [Symbol.dispose]: () => {
        this.#newcomers.delete(listener)
        this.#listeners.delete(listener)
      },
    }
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel()
    this.#newcomers.clear()
    this.#listeners.clear()
  }

  #welcome(listener: Listener, lastEventId: string | undefined): void {
    const [epoch, text] = (lastEventId ?? '').split('-')
    const id = /^\d{1,15}$/.test(text ?? '') ? Number(text) : Number.NaN
    const isKnown = epoch === this.epoch && id <= this.#lastId && id >= (this.#kept[0]?.id ?? this.#lastId + 1) - 1
    if (!isKnown) listener({ id: this.#lastId, kind: 'reset' })
    else for (const event of this.#kept) if (event.id > id) listener(event)
    listener({ id: this.#lastId, kind: 'ready' })
    this.#listeners.add(listener)
  }

  readonly #look = (): void => {
    detach(
      'hub',
      this.#compare().finally(() => {
        if (this.#listeners.size + this.#newcomers.size > 0) this.#timer = this.#o.clock.after(LOOK_MS, this.#look)
        else this.#rest()
      }),
    )
  }

  /** Nobody listens: what happens meanwhile is not looked at, so nobody can be told of it later. */
  #rest(): void {
    this.#timer = undefined
    this.#kept = []
    this.#rows = undefined
    this.#auditId = undefined
    this.#reported = undefined
  }

  async #compare(): Promise<void> {
    const { view, audit, log } = this.#o
    try {
      const rows = await view.rows()
      if (this.#rows && rows !== this.#rows) {
        const { changed, removed } = findChanges(this.#rows, rows)
        if (changed.length + removed.length > MAX_CHANGES) this.#tell({ kind: 'reset' })
        else if (changed.length + removed.length > 0) this.#tell({ kind: 'devices', changed, removed })
      }
      this.#rows = rows
      await this.#compareReports(rows)
      const newest = await audit.newestId()
      if (this.#auditId !== undefined && newest > this.#auditId) {
        const fresh = await audit.page({ after: this.#auditId, most: MAX_AUDIT })
        this.#tell({ kind: 'changed', topics: listTopics(fresh.map(({ event }) => event)) })
      }
      this.#auditId = newest
      for (const listener of this.#newcomers) this.#welcome(listener, undefined)
      this.#newcomers.clear()
    } catch (err) {
      log.warn({ evt: 'hub.console-events', err }, 'the fleet cannot be read')
    }
  }

  async #compareReports(rows: ReadonlyMap<string, DeviceRow>): Promise<void> {
    const recent = await this.#o.reports.newest(MAX_REPORTED)
    const before = this.#reported
    this.#reported = new Map(recent.map(({ name, atMs }) => [name, atMs]))
    if (!before) return
    const devices = recent
      .filter(({ name, atMs }) => before.get(name) !== atMs && rows.has(name))
      .map(({ name }) => ({ name, namespace: rows.get(name)!.namespace }))
    if (devices.length > 0) this.#tell({ kind: 'reported', devices })
  }

  #tell(what: DistributiveOmit<ConsoleEvent, 'id'>): void {
    const event = { ...what, id: ++this.#lastId } as ConsoleEvent
    this.#kept.push(event)
    if (this.#kept.length > MAX_KEPT) this.#kept.shift()
    for (const listener of this.#listeners) listener(event)
  }
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never

function listTopics(events: readonly string[]): readonly Topic[] {
  const topics = new Set<Topic>(['audit'])
  for (const event of events) {
    if (event.startsWith('token.')) topics.add('tokens')
    if (event.startsWith('device.')) topics.add('enrolment')
    if (event.startsWith('rollout.') || event.startsWith('revision.')) topics.add('rollouts')
  }
  return [...topics]
}

/** What of an event is an operator's to hear; undefined: nothing. */
export function filterEvent(event: ConsoleEvent, operator: Operator): ConsoleEvent | undefined {
  if (event.kind === 'reported') {
    const devices = event.devices.filter(({ namespace }) => operator.sees(namespace))
    return devices.length === 0 ? undefined : { ...event, devices }
  }
  if (event.kind !== 'devices') return event
  const changed = event.changed.filter(({ namespace }) => operator.sees(namespace))
  const removed = event.removed.filter(({ namespace }) => operator.sees(namespace))
  return changed.length + removed.length === 0 ? undefined : { ...event, changed, removed }
}
