/** Join tokens: listed, made, revoked. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { describeTokenState, type TokenRow } from '../../registry/rows.ts'
import type { Registry } from '../../registry/registry.ts'
import * as schemas from '../schemas.ts'
import { ERRORS, noteChange, type ConsoleParts, type TokenWish } from './parts.ts'

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
      return registry.exclusively(async (tx) => ({
        ...(await createNoted(p, request, { tx, wish: request.body })),
        joinAddress: p.joinAddress,
      }))
    },
  )
  addManyTokens(app, p)
  app.post<Identified>(
    '/api/v1/tokens/:id/revoke',
    {
      config: { access: { of: 'named', role: 'operator', find: (request) => findNamespace(p, request) } },
      schema: {
        summary: 'A token opens nothing any more; devices with a key of their own go on',
        params: schemas.identified,
        response: { 200: schemas.tokenRevoked, ...ERRORS },
      },
    },
    async (request) => {
      const { id } = request.params
      return registry.exclusively(async (tx) => {
        const row = (await tx.revokeToken(id, clock.wallMs()))!
        const { namespace, serviceAccount } = row
        const detail = `${namespace}/${serviceAccount}`
        await noteChange(p, request, { tx, event: 'token.revoked', subject: id, detail, namespace })
        const devices = await tx.devicesOfToken(id)
        return { detail, token: describeToken(row, { devices, most: MAX_DEVICES, nowMs: clock.wallMs() }) }
      })
    },
  )
}

/** All of them or none. */
function addManyTokens(app: FastifyInstance, p: ConsoleParts): void {
  app.post<{ Body: schemas.TokensWish }>(
    '/api/v1/tokens/many',
    {
      config: {
        access: {
          of: 'named',
          role: 'operator',
          find: (request) => [(request.body as schemas.TokensBody).namespace],
        },
      },
      schema: {
        summary: 'Makes a join token for each of many names, which are shown once',
        body: schemas.tokensBody,
        response: { 200: schemas.tokensMade, ...ERRORS },
      },
    },
    async (request): Promise<schemas.TokensMade> => {
      const { nodes: names, ...wish } = request.body
      return p.registry.exclusively(async (tx) => {
        const tokens = []
        for (const nodes of names) tokens.push(await createNoted(p, request, { tx, wish: { ...wish, nodes } }))
        return { tokens }
      })
    },
  )
}

async function createNoted(
  p: ConsoleParts,
  request: FastifyRequest,
  { tx, wish }: { readonly tx: Registry; readonly wish: TokenWish },
): Promise<schemas.TokensMade['tokens'][number]> {
  const { jti, token, expiresMs } = await p.createToken(wish, tx)
  const { namespace, serviceAccount, nodes } = wish
  const detail = `${namespace}/${serviceAccount} for ${nodes}`
  await noteChange(p, request, { tx, event: 'token.created', subject: jti, detail, namespace })
  return { id: jti, token, expiresMs }
}

function addTokenList(app: FastifyInstance, { registry, clock }: ConsoleParts): void {
  app.get<{ Querystring: { offset: number; limit: number; devices: number } }>(
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
      for (const row of shown) {
        const devices = await registry.devicesOfToken(row.jti)
        tokens.push(describeToken(row, { devices, most: query.devices, nowMs: clock.wallMs() }))
      }
      return { total: all.length, tokens }
    },
  )
}

async function findNamespace({ registry }: ConsoleParts, request: FastifyRequest): Promise<readonly string[]> {
  const token = await registry.token((request.params as Identified['Params']).id)
  return token ? [token.namespace] : []
}

function describeToken(
  { jti, revokedMs, ...t }: TokenRow,
  { devices, most, nowMs }: { readonly devices: readonly string[]; readonly most: number; readonly nowMs: number },
) {
  const state = describeTokenState({ ...t, revokedMs }, nowMs)
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
    revokedMs,
    devices: devices.slice(0, most),
    devicesTotal: devices.length,
  } satisfies schemas.TokenItem
}
