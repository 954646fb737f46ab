/** Devices, over the API. */
import { MeshError } from '../../../core/errors.ts'
import type { CommandAnswer, CommandName } from '../../../model/fleet/command.ts'
import { answer, fleetPage } from '../../console/fleet-schemas.ts'
import { deviceRecord, enrollmentPage, eventPage } from '../../console/record-schemas.ts'
import { done } from '../../console/schemas.ts'
import type { Verb } from '../../enrollment/decisions.ts'
import { findLabelProblem } from '../../enrollment/labels.ts'
import type { ListedEnrollment } from '../../enrollment/list.ts'
import type { Labels } from '../../registry/enrollments.ts'
import type { FleetRow } from '../../reports/fleet-row.ts'
import type { DescribedDevice } from '../../reports/list-fleet.ts'
import { formatLabels } from '../../rollout/scope.ts'
import type { HubClient } from '../console/client.ts'
import type { DeviceOperations, EventsFound, FleetAsked, FleetFound } from './operations.ts'
import { readPages } from './pages.ts'

export class RemoteDevices implements DeviceOperations {
  readonly #client: HubClient
  constructor(client: HubClient) {
    this.#client = client
  }

  async list({ where, labels, most }: FleetAsked): Promise<FleetFound> {
    let isThere = true
    const asked = { where, labels: formatQueried(labels) }
    const { rows, total } = await readPages(async (place) => {
      const page = await this.#client.ask({ path: 'fleet', query: { ...asked, ...place }, answer: fleetPage })
      isThere &&= page.isHubThere
      // JSON leaves out what is undefined.
      return { total: page.total, rows: page.rows as readonly FleetRow[] }
    }, most)
    return { rows, found: total, hub: { isThere, why: 'has written to its state within the last half minute' } }
  }
  async describe(name: string): Promise<DescribedDevice | undefined> {
    const path = `devices/${encodeURIComponent(name)}/record`
    const found = await findOrNothing(this.#client.ask({ path, answer: deviceRecord }))
    return found as DescribedDevice | undefined
  }
  async enrollments(): Promise<readonly ListedEnrollment[]> {
    const { rows } = await readPages(async (query) => {
      const { total, devices } = await this.#client.ask({ path: 'enrollments', query, answer: enrollmentPage })
      return { total, rows: devices }
    })
    return rows
  }
  async decide(verb: Verb, name: string, keyId?: string): Promise<string> {
    const path = `devices/${encodeURIComponent(name)}/${verb}`
    const body = keyId === undefined ? {} : { keyId }
    const decided = await findOrNothing(this.#client.ask({ method: 'POST', path, body, answer: done }))
    if (decided) return decided.detail
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      `no device ${JSON.stringify(name)} is known, or it is not for you to see; meshlet-hub device list shows them`,
    )
  }
  async ask(name: string, command: CommandName, lines: number): Promise<CommandAnswer> {
    const path = `devices/${encodeURIComponent(name)}/ask`
    const said = await findOrNothing(this.#client.ask({ method: 'POST', path, body: { command, lines }, answer }))
    if (said) return said
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      `${JSON.stringify(name)} is no device that is known; meshlet-hub devices shows which are`,
    )
  }
  async events(since: { readonly after: number } | { readonly last: number }, labels: Labels): Promise<EventsFound> {
    const query = { ...since, labels: formatQueried(labels) }
    return await this.#client.ask({ path: 'device-events', query, answer: eventPage })
  }
}

/** Undefined: there is nothing of the name, or it is not for whoever asks. */
export async function findOrNothing<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked
  } catch (thrown) {
    if (thrown instanceof MeshError && thrown.code === 'MESH_CONSOLE_NOT_FOUND') return undefined
    throw thrown
  }
}

/** Throws MESH_CONFIG_INVALID: a comma would make two of one. */
function formatQueried(labels: Labels): string | undefined {
  const problem = findLabelProblem(labels)
  if (problem !== undefined) throw new MeshError('MESH_CONFIG_INVALID', problem)
  return Object.keys(labels).length === 0 ? undefined : formatLabels(labels)
}
