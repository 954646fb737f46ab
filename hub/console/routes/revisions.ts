/**
 * Revisions of the configuration. Who sees all namespaces sees which there are and who has them; what stands in them may
 * have keys of Secrets in it, and takes an operator.
 */
import type { FastifyInstance } from 'fastify'
import { MeshError } from '../../../core/errors.ts'
import type { Registry } from '../../registry/registry.ts'
import type { RevisionRow } from '../../registry/rollout/revisions.ts'
import { compareRevisions, type FileDiff } from '../../rollout/diff.ts'
import { describeUses } from '../../rollout/uses.ts'
import { listDeviceRevisions, type DeviceRevision } from '../../rollout/who.ts'
import { Rested } from '../fleet/rested.ts'
import * as schemas from '../rollout-schemas.ts'
import { ERRORS, type ConsoleParts } from './parts.ts'

type DiffLimits = { readonly files: number; readonly chars: number; readonly lineChars: number }
type Identified = { Params: { id: string } }
const MAX_FILES = 1_000
/** Of a page, and of what `meshlet-hub revision diff` prints. */
const SHORT: DiffLimits = { files: 1_000, chars: 512 * 1024, lineChars: 2_000 }
const WHOLE: DiffLimits = { files: 20_000, chars: 6 * 1024 * 1024, lineChars: 1024 * 1024 }
const MAX_REFUSED_CHARS = 500

export function addRevisionRoutes(app: FastifyInstance, { registry, clock }: ConsoleParts): void {
  app.get(
    '/api/v1/revisions',
    {
      config: { access: { of: 'all', role: 'viewer' } },
      schema: {
        summary: 'What the resources folder was at different times',
        response: { 200: schemas.revisionList, ...ERRORS },
      },
    },
    async (): Promise<schemas.RevisionList> => {
      const uses = await describeUses(registry)
      return { revisions: (await registry.revisions.list()).map((row) => ({ ...row, use: uses(row.id) })) }
    },
  )
  app.get<Identified>(
    '/api/v1/revisions/:id',
    {
      config: { access: { of: 'all', role: 'viewer' } },
      schema: {
        summary: 'Files of a revision, without their contents',
        params: schemas.revisionParams,
        response: { 200: schemas.revisionDetail, ...ERRORS },
      },
    },
    async ({ params }): Promise<schemas.RevisionDetail> => {
      const row = await findRevision(registry, params.id)
      const files = await registry.revisions.manifest(row.id)
      const uses = await describeUses(registry)
      return {
        revision: { ...row, use: uses(row.id) },
        files: files.slice(0, MAX_FILES).map(({ path, resources, source }) => ({ path, resources, source })),
        filesTotal: files.length,
      }
    },
  )
  app.get<{ Params: { id: string; to: string }; Querystring: { whole: 'true' | 'false' } }>(
    '/api/v1/revisions/:id/diff/:to',
    {
      config: { access: { of: 'all', role: 'operator' } },
      schema: {
        summary: 'What differs between two',
        params: schemas.diffParams,
        querystring: schemas.diffQuery,
        response: { 200: schemas.revisionDiff, ...ERRORS },
      },
    },
    async ({ params, query }): Promise<schemas.RevisionDiff> => {
      const [before, after] = [await findRevision(registry, params.id), await findRevision(registry, params.to)]
      const diffs = await compareRevisions(registry, before.id, after.id)
      return limitDiff(diffs, query.whole === 'true' ? WHOLE : SHORT)
    },
  )
  const who = new Rested(clock, () => listDeviceRevisions(registry))
  addWho(app, { registry, who })
}

function addWho(
  app: FastifyInstance,
  { registry, who }: Pick<ConsoleParts, 'registry'> & { readonly who: Rested<readonly DeviceRevision[]> },
): void {
  app.get<Identified & { Querystring: { offset: number; limit: number } }>(
    '/api/v1/revisions/:id/who',
    {
      config: { access: { of: 'all', role: 'viewer' } },
      schema: {
        summary: 'Devices that have a revision, or are to have it',
        params: schemas.revisionParams,
        querystring: schemas.whoQuery,
        response: { 200: schemas.whoPage, ...ERRORS },
      },
    },
    async ({ params, query }): Promise<schemas.WhoPage> => {
      const { id } = await findRevision(registry, params.id)
      const all = (await who.read()).filter(({ desired, inForce }) => desired === id || inForce === id)
      const devices = all
        .slice(query.offset, query.offset + query.limit)
        .map(({ name, connected, desired, inForce, refused }) => ({
          name,
          connected,
          desired,
          inForce,
          refused: refused?.slice(0, MAX_REFUSED_CHARS) ?? null,
        }))
      return { total: all.length, devices }
    },
  )
}

/** Rejects with MESH_CONSOLE_NOT_FOUND. @param id whole */
export async function findRevision(registry: Registry, id: string): Promise<RevisionRow> {
  const row = await registry.revisions.get(id)
  if (row) return row
  throw new MeshError(
    'MESH_CONSOLE_NOT_FOUND',
    'there is no revision of this id; perhaps it is so old that it was dropped',
  )
}

/** So much of it is shown; on the machine of the hub `meshlet-hub revision diff` prints all. */
export function limitDiff(diffs: readonly FileDiff[], limits = SHORT): schemas.RevisionDiff {
  let left = limits.chars
  let isCut = diffs.length > limits.files
  const files = diffs.slice(0, limits.files).map(({ path, what, lines }) => {
    const shown: string[] = []
    for (const line of lines) {
      const text = line.slice(0, limits.lineChars)
      isCut ||= text.length < line.length || left < text.length
      if (left < text.length) break
      left -= text.length
      shown.push(text)
    }
    return { path, what, lines: shown }
  })
  return { files, filesTotal: diffs.length, isCut }
}
