/** Devices, beside the hub. */
import { asOwner } from '../../../core/os/as-owner.ts'
import { systemClock } from '../../../core/os/clock.ts'
import type { CommandAnswer, CommandName } from '../../../model/fleet/command.ts'
import { DECISIONS, type Verb } from '../../enrollment/decisions.ts'
import { listEnrollments, type ListedEnrollment } from '../../enrollment/list.ts'
import { findNamespaces } from '../../enrollment/operator.ts'
import type { DeviceEventRow } from '../../registry/device-events.ts'
import type { Labels } from '../../registry/enrollments.ts'
import { HUB_GONE_MS } from '../../registry/replicas.ts'
import { isRunning } from '../../registry/running.ts'
import { askDevice } from '../../reports/ask-device.ts'
import { describeDevice, listFleet, type DescribedDevice } from '../../reports/list-fleet.ts'
import { parseQuestion } from '../../reports/where.ts'
import type { Io } from '../io.ts'
import { loadNativeBinding, nameOperator, noteByOperator, type State } from '../open.ts'
import type { DeviceOperations, EventsFound, FleetAsked, FleetFound } from './operations.ts'

export type Beside = State & { readonly io: Pick<Io, 'operator'> }
const MOST_EVENTS = 10_000

export class LocalDevices implements DeviceOperations {
  readonly #at: Beside
  constructor(at: Beside) {
    this.#at = at
  }

  async list({ where, labels, most }: FleetAsked): Promise<FleetFound> {
    const question = where === undefined ? undefined : parseQuestion(where, systemClock.wallMs())
    const hub = await this.#findHub()
    const query = { isHubThere: hub.isThere, labels, where: question, most }
    return { hub, ...(await listFleet(this.#at.registry, query)) }
  }
  async describe(name: string): Promise<DescribedDevice | undefined> {
    return await describeDevice(this.#at.registry, name, (await this.#findHub()).isThere)
  }
  async enrollments(): Promise<readonly ListedEnrollment[]> {
    return (await listEnrollments(this.#at.registry)).devices
  }
  async decide(verb: Verb, name: string, keyId?: string): Promise<string> {
    const { decide, event } = DECISIONS[verb]
    return await this.#at.registry.exclusively(async (tx) => {
      const [namespace = ''] = await findNamespaces(tx, name)
      const detail = await decide(tx, name, { nowMs: systemClock.wallMs(), keyId })
      await noteByOperator(tx, this.#at.io, { event, subject: name, detail, namespace })
      return detail
    })
  }
  async ask(name: string, command: CommandName, lines: number): Promise<CommandAnswer> {
    const request = { command, lines, operator: nameOperator(this.#at.io) }
    return await askDevice(this.#at.registry, { device: name, request, clock: systemClock })
  }
  async events(since: { readonly after: number } | { readonly last: number }, labels: Labels): Promise<EventsFound> {
    const { deviceEvents } = this.#at.registry
    const events =
      'last' in since
        ? await deviceEvents.last({ most: since.last })
        : await deviceEvents.after({ after: since.after, most: MOST_EVENTS })
    const newest = events.at(-1)?.id ?? ('after' in since ? since.after : 0)
    const isWanted = events.length === 0 ? () => true : await this.#selectDevices(labels)
    return { events: events.filter(isWanted), newest, isFull: events.length === MOST_EVENTS }
  }

  async #selectDevices(labels: Labels): Promise<(event: DeviceEventRow) => boolean> {
    const wanted = Object.entries(labels)
    if (wanted.length === 0) return () => true
    const all = await this.#at.registry.enrollments.all()
    const names = new Set(
      all.filter((e) => wanted.every(([key, value]) => e.labels[key] === value)).map(({ name }) => name),
    )
    return ({ device }) => names.has(device)
  }

  /** Whether somebody knows who is connected. */
  async #findHub(): Promise<FleetFound['hub']> {
    const { config, registry } = this.#at
    // Hubs on a database may run on other machines.
    const process = config.store
      ? undefined
      : asOwner(config.state, () => isRunning(config.state, loadNativeBinding(config)))
    const isHeard = Math.abs(systemClock.wallMs() - ((await registry.aliveMs()) ?? 0)) < HUB_GONE_MS
    const why = process === false ? 'runs on this state' : 'has written to this state within the last half minute'
    return { isThere: process !== false && isHeard, why }
  }
}
