/** The OpenAPI document of the API, from the schemas that check it. */
import type { RouteOptions } from 'fastify'
import * as z from 'zod'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What the JWS of the body signs. */
    readonly claims?: z.ZodType
    /** Media type of what is answered; left out: JSON. */
    readonly produces?: string
  }
  interface FastifySchema {
    readonly summary?: string
  }
}

type Described = {
  readonly summary?: string
  readonly body?: z.ZodType
  readonly params?: z.ZodType
  readonly querystring?: z.ZodType
  readonly response?: Readonly<Record<string, z.ZodType>>
}
const JOSE = 'application/jose'
const JSON_TYPE = 'application/json'

export function describeApi(
  routes: readonly RouteOptions[],
  p: { readonly title: string; readonly version: string },
): object {
  const paths: Record<string, Record<string, object>> = {}
  for (const { url, method, schema, config } of routes) {
    const { summary, body, params, querystring, response = {} } = (schema ?? {}) as Described
    const parameters = [...toParameters(params, 'path'), ...toParameters(querystring, 'query')]
    const bodyType = config?.claims ? JOSE : JSON_TYPE
    const operation = {
      summary,
      ...describeAccess(config),
      ...(parameters.length > 0 ? { parameters } : {}),
      ...(body
        ? { requestBody: { required: true, content: { [bodyType]: { schema: toSchema(body, 'input') } } } }
        : {}),
      ...(config?.claims ? { 'x-claims': toSchema(config.claims, 'input') } : {}),
      responses: Object.fromEntries(
        Object.entries(response).map(([status, answer]) => [
          status.toUpperCase(),
          {
            description: summary ?? '',
            content: {
              [status === '200' ? (config?.produces ?? JSON_TYPE) : JSON_TYPE]: { schema: toSchema(answer, 'output') },
            },
          },
        ]),
      ),
    }
    for (const one of [method].flat())
      if (one !== 'HEAD') (paths[toTemplate(url)] ??= {})[one.toLowerCase()] = operation
  }
  return { openapi: '3.1.0', info: p, paths }
}

/** Of routes that say who may ask them. */
function describeAccess(config: RouteOptions['config']): object {
  const access = (config as { access?: { of: string; role?: string } } | undefined)?.access
  if (!access) return {}
  const { of, role } = access
  return { 'x-access': { of, ...(role === undefined ? {} : { role }) } }
}

function toSchema(schema: z.ZodType, io: 'input' | 'output'): object {
  const { $schema: _, ...json } = z.toJSONSchema(schema, { io })
  return json
}

/** `/devices/:name` → `/devices/{name}` */
const toTemplate = (url: string): string => url.replaceAll(/:(\w+)/g, '{$1}')

function toParameters(schema: z.ZodType | undefined, where: 'path' | 'query'): readonly object[] {
  if (!schema) return []
  const { properties = {}, required = [] } = z.toJSONSchema(schema, { io: 'input' })
  return Object.entries(properties).map(([name, one]) => ({
    name,
    in: where,
    required: where === 'path' || required.includes(name),
    schema: one,
  }))
}
