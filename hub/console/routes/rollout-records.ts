/** Rollouts and revisions, whole: what the commands of `meshlet-hub` print on another machine. */
import type { FastifyInstance } from 'fastify'
import { readRolloutStatus } from '../../reports/rollout-status.ts'
import { listDeviceRevisions } from '../../rollout/who.ts'
import * as schemas from '../record-schemas.ts'
import { revisionParams } from '../rollout-schemas.ts'
import { Rested } from '../fleet/rested.ts'
import { ERRORS, type ConsoleParts } from './parts.ts'
import { findRevision } from './revisions.ts'

type Page = { readonly offset: number; readonly limit: number }
const SHOWN = 100

export function addRolloutRecordRoutes(app: FastifyInstance, p: ConsoleParts): void {
  const { registry } = p
  app.get(
    '/api/v1/rollouts/status',
    {
      config: { access: { of: 'all', role: 'viewer' } },
      schema: {
        summary: 'How rollouts stand, as `meshlet-hub rollout status` prints it',
        response: { 200: schemas.rolloutStatus, ...ERRORS },
      },
    },
    async (): Promise<schemas.RolloutStatus> => readRolloutStatus(registry),
  )
  app.get(
    '/api/v1/rollouts/records',
    {
      config: { access: { of: 'all', role: 'viewer' } },
      schema: {
        summary: `The last ${SHOWN}, as \`meshlet-hub rollout list\` prints them`,
        response: { 200: schemas.rolloutRecords, ...ERRORS },
      },
    },
    async (): Promise<schemas.RolloutRecords> => ({ rollouts: await registry.rollouts.list(SHOWN) }),
  )
  addFiles(app, p)
  addDeviceRevisions(app, p)
}

function addFiles(app: FastifyInstance, { registry }: ConsoleParts): void {
  app.get<{ Params: { id: string }; Querystring: Page }>(
    '/api/v1/revisions/:id/files',
    {
      config: { access: { of: 'all', role: 'viewer' } },
      schema: {
        summary: 'Files of a revision, page by page, without what stands in them',
        params: revisionParams,
        querystring: schemas.fileQuery,
        response: { 200: schemas.filePage, ...ERRORS },
      },
    },
    async ({ params, query }): Promise<schemas.FilePage> => {
      const { id } = await findRevision(registry, params.id)
      const files = await registry.revisions.manifest(id)
      return { total: files.length, files: files.slice(query.offset, query.offset + query.limit) }
    },
  )
}

function addDeviceRevisions(app: FastifyInstance, { registry, clock }: ConsoleParts): void {
  const who = new Rested(clock, () => listDeviceRevisions(registry))
  app.get<{ Querystring: Page & { revision?: string } }>(
    '/api/v1/device-revisions',
    {
      config: { access: { of: 'all', role: 'viewer' } },
      schema: {
        summary: 'Which device has which revision, page by page, as `meshlet-hub revision who` prints it',
        querystring: schemas.deviceRevisionQuery,
        response: { 200: schemas.deviceRevisionPage, ...ERRORS },
      },
    },
    async ({ query: { revision, offset, limit } }): Promise<schemas.DeviceRevisionPage> => {
      const id = revision === undefined ? undefined : (await findRevision(registry, revision)).id
      const all = (await who.read()).filter((d) => id === undefined || d.desired === id || d.inForce === id)
      return { total: all.length, devices: all.slice(offset, offset + limit) }
    },
  )
}
