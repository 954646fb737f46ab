/** What the hub's HTTP servers have in common: zod checks what comes in, and errors go out as catalogue codes. */
import type { FastifyInstance } from 'fastify'
import type * as z from 'zod'
import { MeshError } from '../../../core/errors.ts'
import type { Log } from '../../../core/log.ts'
import type { Family } from '../../../core/metrics.ts'
import { toPlainAddress } from '../source-address.ts'
import { toHttpError } from './errors.ts'

export const MAX_BODY_BYTES = 64 * 1024
export const MAX_HEADER_BYTES = 8 * 1024
export const MAX_PATH_CHARS = 256

export type ErrorsOptions = {
  readonly log: Log
  readonly evt: 'hub.api-refused' | 'hub.console-refused'
  readonly refused: Family<'code'>
  /** Media type of the bodies that are taken. */
  readonly bodyType: string
}

/** Routes get what the schema makes of what was sent, with its defaults. */
export function checkByZod(app: FastifyInstance): void {
  app.setValidatorCompiler<z.ZodType>(({ schema, httpPart }) => (data) => {
    const read = schema.safeParse(data)
    if (read.success) return { value: read.data }
    const [issue] = read.error.issues
    const where = issue!.path.join('.') || (httpPart ?? 'request')
    return { error: new MeshError('MESH_MALFORMED_INPUT', `${where}: ${issue!.message}`) }
  })
  app.setSerializerCompiler(() => (data) => JSON.stringify(data))
}

export function addErrors(app: FastifyInstance, { log, evt, refused, bodyType }: ErrorsOptions): void {
  app.setErrorHandler((thrown: Error & { code?: string }, request, reply) => {
    const { status, body, err } = toHttpError(fromFastify(thrown, bodyType))
    refused.cell({ code: body.code }).value++
    const ip = toPlainAddress(request.raw.socket.remoteAddress ?? '')
    // A query may hold what an issuer gave for the browser alone.
    const path = request.url.split('?')[0]!.slice(0, MAX_PATH_CHARS)
    log.warn({ evt, path, ip, err }, 'request refused')
    return reply.code(status).header('content-type', 'application/json').send(body)
  })
}

/** Fastify's own errors have codes of theirs. */
function fromFastify(thrown: Error & { code?: string }, bodyType: string): unknown {
  const { code = '' } = thrown
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE')
    return new MeshError('MESH_API_TOO_LARGE', `the body is larger than ${MAX_BODY_BYTES} bytes`)
  // The kind of a body, and its length.
  return code.startsWith('FST_ERR_CTP_') ? new MeshError('MESH_MALFORMED_INPUT', `the body is not ${bodyType}`) : thrown
}
