/** What the registry has of devices, whole: what the commands of `meshlet-hub` print on another machine. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { MeshError } from '../../../core/errors.ts'
import { hasLabels, parseLabelList } from '../../enrollment/labels.ts'
import { listEnrollments } from '../../enrollment/list.ts'
import { findHolderNamespaces } from '../../enrollment/operator.ts'
import { describeDevice } from '../../reports/list-fleet.ts'
import type { Operator } from '../access.ts'
import * as schemas from '../record-schemas.ts'
import { named } from '../schemas.ts'
import { ERRORS, type ConsoleParts } from './parts.ts'

type Named = { Params: { name: string } }
type Paged = { Querystring: { offset: number; limit: number } }

export function addRecordRoutes(app: FastifyInstance, p: ConsoleParts): void {
  const { registry, details } = p
  const find = ({ params }: FastifyRequest) => findHolderNamespaces(registry, (params as Named['Params']).name)
  app.get<Named>(
    '/api/v1/devices/:name/record',
    {
      config: { access: { of: 'named', role: 'viewer', find } },
      schema: {
        summary: 'All that is known of a device that has connected, as `meshlet-hub device show` prints it',
        params: named,
        response: { 200: schemas.deviceRecord, ...ERRORS },
      },
    },
    async ({ params }): Promise<schemas.DeviceRecord> => {
      const found = await describeDevice(registry, params.name, (await details.read()).isHubThere)
      if (!found) throw new MeshError('MESH_CONSOLE_NOT_FOUND', 'no device of this name has connected')
      return found
    },
  )
  app.get<Paged>(
    '/api/v1/enrollments',
    {
      config: { access: { of: 'some', role: 'viewer' } },
      schema: {
        summary: 'Who waits and who has joined, page by page, as `meshlet-hub device list` prints it',
        querystring: schemas.enrollmentQuery,
        response: { 200: schemas.enrollmentPage, ...ERRORS },
      },
    },
    async ({ query, operator }): Promise<schemas.EnrollmentPage> => {
      const namespaces = operator!.seesAll ? undefined : operator!.namespaces
      return await listEnrollments(registry, { ...query, namespaces })
    },
  )
  addEventRecords(app, p)
}

function addEventRecords(app: FastifyInstance, p: ConsoleParts): void {
  app.get<{ Querystring: schemas.EventQuery }>(
    '/api/v1/device-events',
    {
      config: { access: { of: 'some', role: 'viewer' } },
      schema: {
        summary: 'What has happened to devices, as `meshlet-hub watch` tells it',
        querystring: schemas.eventQuery,
        response: { 200: schemas.eventPage, ...ERRORS },
      },
    },
    async ({ query, operator }): Promise<schemas.EventPage> => {
      const { after, last } = query
      const { deviceEvents } = p.registry
      const events =
        after === undefined
          ? await deviceEvents.last({ most: last })
          : await deviceEvents.after({ after, most: schemas.MAX_EVENTS })
      const isWanted = await selectDevices(p, operator!, query.labels)
      return {
        newest: events.at(-1)?.id ?? after ?? 0,
        isFull: after !== undefined && events.length === schemas.MAX_EVENTS,
        events: events.filter(({ device }) => isWanted(device)),
      }
    },
  )
}

/** Of a device that is forgotten only whoever sees all hears. */
async function selectDevices(
  { view }: ConsoleParts,
  operator: Operator,
  labelled: string | undefined,
): Promise<(device: string) => boolean> {
  const wanted = labelled === undefined ? {} : parseLabelList(labelled)
  const isAll = operator.seesAll && Object.keys(wanted).length === 0
  const rows = await view.rows()
  return (device) => {
    if (isAll) return true
    const row = rows.get(device)
    return row !== undefined && operator.sees(row.namespace) && hasLabels(row.labels, wanted)
  }
}
