/** Long lists go compressed. Never what has a secret in it beside what somebody else may have chosen (BREACH). */
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { FastifyInstance } from 'fastify'

const compress = promisify(gzip)
/** Below that, a packet more or less is all there is to win. */
const MIN_CHARS = 1_400

export function addCompression(app: FastifyInstance): void {
  app.addHook('onSend', async (request, reply, payload: unknown) => {
    const isWanted = /\bgzip\b(?!\s*;\s*q=0)/.test(String(request.headers['accept-encoding'] ?? ''))
    if (request.method !== 'GET' || typeof payload !== 'string' || payload.length < MIN_CHARS || !isWanted)
      return payload
    reply.header('content-encoding', 'gzip').header('vary', 'accept-encoding').removeHeader('content-length')
    return compress(payload, { level: 4 })
  })
}
