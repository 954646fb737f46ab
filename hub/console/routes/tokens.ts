/** Join tokens: listed, made, revoked. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { TokenRow } from '../../registry/rows.ts'
import * as schemas from '../schemas.ts'
import { ERRORS, noteChange, type ConsoleParts } from './parts.ts'

type Identified = { Params: { id: string } }
const MAX_DEVICES = 5

export function addTokenRoutes(app: FastifyInstance, p: ConsoleParts): void {
  const { registry, clock } = p
  addTokenList(app, p)
  app.post<{ Body: schemas.TokenWish }>(
    '/api/v1/tokens',
    {
      config: {
        access: {
          of: 'named',
          role: 'operator',
          find: (request) => [(request.body as schemas.TokenBody).namespace],
        },
      },
      schema: {
        summary: 'Makes a join token, which is shown once',
        body: schemas.tokenBody,
        response: { 200: schemas.tokenMade, ...ERRORS },
      },
    },
    async (request): Promise<schemas.TokenMade> => {
      const { namespace, serviceAccount, nodes } = request.body
      return registry.exclusively(async (tx) => {
        const { jti, token, expiresMs } = await p.createToken(request.body, tx)
        const detail = `${namespace}/${serviceAccount} for ${nodes}`
        await noteChange(p, request, { tx, event: 'token.created', subject: jti, detail, namespace })
        return { id: jti, token, expiresMs, joinAddress: p.joinAddress }
      })
    },
  )
  app.post<Identified>(
    '/api/v1/tokens/:id/revoke',
    {
      config: { access: { of: 'named', role: 'operator', find: (request) => findNamespace(p, request) } },
      schema: {
        summary: 'A token opens nothing any more; devices with a key of their own go on',
        params: schemas.identified,
        response: { 200: schemas.done, ...ERRORS },
      },
    },
    async (request) => {
      const { id } = request.params
      return registry.exclusively(async (tx) => {
        const { namespace, serviceAccount } = (await tx.revokeToken(id, clock.wallMs()))!
        const detail = `${namespace}/${serviceAccount}`
        await noteChange(p, request, { tx, event: 'token.revoked', subject: id, detail, namespace })
        return { detail }
      })
    },
  )
}

function addTokenList(app: FastifyInstance, { registry, clock }: ConsoleParts): void {
  app.get<{ Querystring: { offset: number; limit: number } }>(
    '/api/v1/tokens',
    {
      config: { access: { of: 'some', role: 'viewer' } },
      schema: {
        summary: 'Join tokens, newest first, page by page; the tokens themselves are not kept',
        querystring: schemas.tokenQuery,
        response: { 200: schemas.tokenList, ...ERRORS },
      },
    },
    async ({ query, operator }): Promise<schemas.TokenList> => {
      const all = (await registry.tokens()).filter(({ namespace }) => operator!.sees(namespace))
      const shown = all.slice(query.offset, query.offset + query.limit)
      const tokens = []
      for (const row of shown) tokens.push(describeToken(row, await registry.devicesOfToken(row.jti), clock.wallMs()))
      return { total: all.length, tokens }
    },
  )
}

async function findNamespace({ registry }: ConsoleParts, request: FastifyRequest): Promise<readonly string[]> {
  const token = await registry.token((request.params as Identified['Params']).id)
  return token ? [token.namespace] : []
}

function describeToken({ jti, revokedMs, ...t }: TokenRow, devices: readonly string[], nowMs: number) {
  const isUsedUp = t.maxUses !== null && t.uses >= t.maxUses
  const state = revokedMs !== null ? 'revoked' : nowMs >= t.expiresMs ? 'ended' : isUsedUp ? 'used up' : 'valid'
  const { namespace, serviceAccount, nodes, uses, maxUses, createdMs, expiresMs, cidrs, labels, approval } = t
  return {
    id: jti,
    namespace,
    serviceAccount,
    nodes,
    uses,
    maxUses,
    createdMs,
    expiresMs,
    cidrs,
    labels,
    approval,
    state,
    devices: devices.slice(0, MAX_DEVICES),
    devicesTotal: devices.length,
  } satisfies schemas.TokenItem
}
