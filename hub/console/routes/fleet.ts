/** The fleet by questions and sums, and the configuration of one of its devices. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { MeshError } from '../../../core/errors.ts'
import { findHolderNamespaces } from '../../enrollment/operator.ts'
import { DeviceConfigurations } from '../fleet/configuration.ts'
import { countDataUse } from '../fleet/details.ts'
import { Rested } from '../fleet/rested.ts'
import * as schemas from '../fleet-schemas.ts'
import { named } from '../schemas.ts'
import { ERRORS, type ConsoleParts } from './parts.ts'

type Named = { Params: { name: string } }

export function addFleetRoutes(app: FastifyInstance, p: ConsoleParts): void {
  app.get<{ Querystring: schemas.FleetQuery }>(
    '/api/v1/fleet',
    {
      config: { access: { of: 'some', role: 'viewer' } },
      schema: {
        summary:
          'Devices that have connected, by a question, with what they report: as `meshlet-hub devices` shows them',
        querystring: schemas.fleetQuery,
        response: { 200: schemas.fleetPage, ...ERRORS },
      },
    },
    async ({ query, operator }): Promise<schemas.FleetPage> => {
      const { isHubThere, rows } = await p.details.select(query)
      const own = rows.filter(({ namespace }) => operator!.sees(namespace))
      const { offset, limit } = query
      return { total: own.length, offset, isHubThere, rows: own.slice(offset, offset + limit) }
    },
  )
  addDataUse(app, p)
  addConfiguration(app, p)
}

/** Reads all reports: for whoever sees all once for all of them, for others with what they see. */
function addDataUse(app: FastifyInstance, { registry, view, clock }: ConsoleParts): void {
  const all = new Rested(clock, () => countDataUse(registry, () => true))
  const byNamespaces = new Map<string, Rested<schemas.DataUse>>()
  app.get(
    '/api/v1/data-use',
    {
      config: { access: { of: 'some', role: 'viewer' } },
      schema: { summary: 'Bytes between devices and hub, by purpose', response: { 200: schemas.dataUse, ...ERRORS } },
    },
    async ({ operator }): Promise<schemas.DataUse> => {
      if (operator!.seesAll) return all.read()
      const key = operator!.namespaces.toSorted().join()
      const sum = async (): Promise<schemas.DataUse> => {
        const rows = await view.rows()
        return countDataUse(registry, (name) => {
          const row = rows.get(name)
          return row !== undefined && operator!.sees(row.namespace)
        })
      }
      const own = byNamespaces.get(key) ?? new Rested(clock, sum)
      if (byNamespaces.size >= MAX_KEPT_SUMS) byNamespaces.clear()
      byNamespaces.set(key, own)
      return own.read()
    },
  )
}
const MAX_KEPT_SUMS = 100

function addConfiguration(app: FastifyInstance, { registry, clock }: ConsoleParts): void {
  const configurations = new DeviceConfigurations(registry, clock)
  const find = ({ params }: FastifyRequest) => findHolderNamespaces(registry, (params as Named['Params']).name)
  const read = async (name: string) => ({ name, labels: (await registry.enrollments.byName(name))?.labels ?? {} })
  app.get<Named>(
    '/api/v1/devices/:name/configuration',
    {
      config: { access: { of: 'named', role: 'viewer', find } },
      schema: {
        summary: 'What it is to have and what is in force, by resource, each with the hash of its content',
        params: named,
        response: { 200: schemas.configuration, ...ERRORS },
      },
    },
    async ({ params }) => configurations.describe(await read(params.name)),
  )
  app.get<Named & { Querystring: { type: string; name: string } }>(
    '/api/v1/devices/:name/configuration/diff',
    {
      config: { access: { of: 'named', role: 'operator', find } },
      schema: {
        summary: 'What differs in one resource; secrets are not shown',
        params: named,
        querystring: schemas.resourceQuery,
        response: { 200: schemas.resourceDiff, ...ERRORS },
      },
    },
    async ({ params, query }) => {
      const found = await configurations.compare(await read(params.name), query)
      if (!found) throw new MeshError('MESH_CONSOLE_NOT_FOUND', 'the device has no such resource')
      return found
    },
  )
}
