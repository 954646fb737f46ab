/** The fleet, its devices, and what an operator decides about one. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { MeshError } from '../../../core/errors.ts'
import { DECISIONS, VERBS } from '../../enrollment/decisions.ts'
import { findHolderNamespaces, findNamespaces } from '../../enrollment/operator.ts'
import { KEY_HOLDER } from '../../registry/enrollments.ts'
import type { Registry } from '../../registry/registry.ts'
import type { Operator } from '../access.ts'
import { checkNamespaces } from '../authorize.ts'
import { summarizeFleet } from '../fleet/overview.ts'
import { describeReport } from '../fleet/report.ts'
import { selectRows } from '../fleet/search.ts'
import * as schemas from '../schemas.ts'
import { ERRORS, noteChange, type ConsoleParts } from './parts.ts'

type Named = { Params: { name: string } }
const MAX_CERTIFICATES = 100

export function addDeviceRoutes(app: FastifyInstance, p: ConsoleParts): void {
  app.get(
    '/api/v1/overview',
    {
      config: { access: { of: 'some', role: 'viewer' } },
      schema: { summary: 'The fleet in numbers, and what is wrong', response: { 200: schemas.overview, ...ERRORS } },
    },
    async (request) => {
      const rows = [...(await p.view.rows()).values()].filter((row) => request.operator!.sees(row.namespace))
      const rollout = request.operator!.seesAll ? await findNewsworthy(p.registry) : null
      return { ...summarizeFleet(rows, p.clock.wallMs()), hub: p.hub, rollout }
    },
  )
  app.get<{ Querystring: schemas.DeviceQuery }>(
    '/api/v1/devices',
    {
      config: { access: { of: 'some', role: 'viewer' } },
      schema: {
        summary: 'Devices by name, page by page',
        querystring: schemas.deviceQuery,
        response: { 200: schemas.devicePage, ...ERRORS },
      },
    },
    async ({ query, operator }): Promise<schemas.DevicePage> => {
      const { offset, limit, where, labels } = query
      const isAsked = where !== undefined || labels !== undefined
      const among = isAsked ? new Set((await p.details.select(query)).rows.map(({ name }) => name)) : undefined
      const found = selectRows((await p.view.rows()).values(), query, operator!, among)
      return { total: found.length, offset, devices: found.slice(offset, offset + limit) }
    },
  )
  app.get<Named>(
    '/api/v1/devices/:name',
    {
      config: { access: { of: 'named', role: 'viewer', find: findFor(p) } },
      schema: {
        summary: 'One device: who it is and how it stands',
        params: schemas.named,
        response: { 200: schemas.deviceDetail, ...ERRORS },
      },
    },
    async ({ params, operator }) => describeDevice(p, params.name, operator!),
  )
  app.get<Named & { Querystring: { step: 'minute' | 'hour' } }>(
    '/api/v1/devices/:name/history',
    {
      config: { access: { of: 'named', role: 'viewer', find: findFor(p, findHolderNamespaces) } },
      schema: {
        summary: 'How its link and load were, as its reports told',
        params: schemas.named,
        querystring: schemas.historyQuery,
        response: { 200: schemas.deviceHistory, ...ERRORS },
      },
    },
    async ({ params, query }) => ({ points: await p.registry.reports.history(params.name, query.step, 0) }),
  )
  addDecisions(app, p)
}

async function findNewsworthy({ rollouts }: Registry): Promise<schemas.Overview['rollout']> {
  const newest = (await rollouts.active()) ?? (await rollouts.list(1))[0]
  if (!newest) return null
  const { id, to, state, wave, reason, upTo } = newest
  if (state !== 'running' && state !== 'paused' && state !== 'halted') return null
  return { id, to, state, wave: wave + 1, waveCount: upTo.length, reason }
}

const findFor =
  ({ registry }: ConsoleParts, find = findNamespaces) =>
  (request: FastifyRequest) =>
    find(registry, (request.params as Named['Params']).name)

function addDecisions(app: FastifyInstance, p: ConsoleParts): void {
  for (const verb of VERBS) {
    const { summary, role, event, decide } = DECISIONS[verb]
    app.post<Named & { Body: { keyId?: string } }>(
      `/api/v1/devices/:name/${verb}`,
      {
        config: { access: { of: 'named', role, find: findFor(p) } },
        schema: {
          summary,
          params: schemas.named,
          body: schemas.approveBody,
          response: { 200: schemas.done, ...ERRORS },
        },
      },
      async (request) => {
        const { name } = request.params
        return p.registry.exclusively(async (tx) => {
          const namespaces = await findNamespaces(tx, name)
          // Somebody else may have come to the name since it was looked at.
          checkNamespaces(request, { role }, namespaces)
          const detail = await decide(tx, name, { nowMs: p.clock.wallMs(), ...request.body })
          await noteChange(p, request, { tx, event, subject: name, detail, namespace: namespaces[0] ?? '' })
          return { detail }
        })
      },
    )
  }
}

async function describeDevice(p: ConsoleParts, name: string, operator: Operator): Promise<schemas.DeviceDetail> {
  const { registry, view } = p
  const row = (await view.rows()).get(name)
  const known = await registry.enrollments.byName(name)
  const device = known && operator.sees(known.namespace) ? known : undefined
  const asks = await registry.enrollments.request({ name })
  const waits = asks && operator.sees(asks.namespace) ? asks : undefined
  if (!row || !operator.sees(row.namespace))
    throw new MeshError('MESH_CONSOLE_NOT_FOUND', 'there is nothing of this name, or it is not for you to see')
  const holder = device ? KEY_HOLDER + device.keyId : await registry.holderOf(name)
  const stored = await registry.reports.latest(name)
  const namespaces = [row.namespace, ...(asks ? [asks.namespace] : [])]
  return {
    device: row,
    nodeId: (await registry.device(name))?.nodeId ?? null,
    spiffeUri: (await registry.spiffeUriOf(name)) ?? null,
    keyId: device?.keyId ?? null,
    tokenId: device?.jti ?? null,
    joinedMs: device?.joinedMs ?? null,
    renewedMs: device?.renewedMs ?? null,
    cloneAddresses: device?.cloneAddresses ?? null,
    waits: waits ? { keyId: waits.keyId, address: waits.address, why: waits.why, askedMs: waits.askedMs } : null,
    certificates: holder === undefined ? [] : await registry.listCertificates(holder, MAX_CERTIFICATES),
    report: stored ? describeReport(stored) : null,
    may: {
      operate: namespaces.every((one) => operator.may('operator', one)),
      administer: namespaces.every((one) => operator.may('admin', one)),
    },
  }
}
