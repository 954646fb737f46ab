/** The OpenAPI document of the API, from the schemas that check it. */
import type { RouteOptions } from 'fastify'
import * as z from 'zod'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What the JWS of the body signs. */
    readonly claims?: z.ZodType
  }
  interface FastifySchema {
    readonly summary?: string
  }
}

type Described = {
  readonly summary?: string
  readonly body?: z.ZodType
  readonly response?: Readonly<Record<string, z.ZodType>>
}
const JOSE = 'application/jose'

export function describeApi(routes: readonly RouteOptions[], version: string): object {
  const paths: Record<string, Record<string, object>> = {}
  for (const { url, method, schema, config } of routes) {
    const { summary, body, response = {} } = (schema ?? {}) as Described
    const operation = {
      summary,
      ...(body ? { requestBody: { required: true, content: { [JOSE]: { schema: toSchema(body, 'input') } } } } : {}),
      ...(config?.claims ? { 'x-claims': toSchema(config.claims, 'input') } : {}),
      responses: Object.fromEntries(
        Object.entries(response).map(([status, answer]) => [
          status.toUpperCase(),
          { description: summary ?? '', content: { 'application/json': { schema: toSchema(answer, 'output') } } },
        ]),
      ),
    }
    for (const one of [method].flat()) if (one !== 'HEAD') (paths[url] ??= {})[one.toLowerCase()] = operation
  }
  return { openapi: '3.1.0', info: { title: 'meshlet hub', version }, paths }
}

function toSchema(schema: z.ZodType, io: 'input' | 'output'): object {
  const { $schema: _, ...json } = z.toJSONSchema(schema, { io })
  return json
}
