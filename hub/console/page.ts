/** The page itself: files that the build has made and compressed (tools/build/console-page.ts), kept in memory. */
import fs from 'node:fs'
import { gunzipSync } from 'node:zlib'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { BundlePart } from '../../core/runtime/bundle.ts'

export type PageFile = {
  /** Its name has a hash of its content, but for the page's own. */
  readonly path: string
  readonly type: string
  /** Base64. */
  readonly gzip: string
  readonly br: string
}
/** `files[0]` is the page. */
export type ConsolePage = { readonly files: readonly PageFile[] }

/** Of a bundle, which stays open. */
export function readPage({ fd, from, length }: BundlePart): ConsolePage {
  const bytes = Buffer.alloc(length)
  fs.readSync(fd, bytes, 0, length, from)
  return JSON.parse(bytes.toString('latin1')) as ConsolePage
}

/** Addresses that the page shows a view for; whatever comes behind them is the page's business. */
const VIEWS = ['/', '/login', '/devices', '/devices/*', '/enrolment', '/rollouts', '/rollouts/*', '/audit', '/sessions']
const FOREVER = 'public, max-age=31536000, immutable'

export function addPage(app: FastifyInstance, page: ConsolePage): void {
  const [index, ...files] = page.files.map(decode)
  const config = { access: { of: 'anyone' } } as const
  for (const url of VIEWS)
    app.get(url, { config, schema: { summary: 'The page' } }, (request, reply) =>
      send(request, reply.header('cache-control', 'no-cache'), index!),
    )
  for (const file of files)
    app.get(`/${file.path}`, { config, schema: { summary: 'A file of the page' } }, (request, reply) =>
      send(request, reply.header('cache-control', FOREVER), file),
    )
}

type Decoded = { readonly path: string; readonly type: string; readonly gzip: Buffer; readonly br: Buffer }
const decode = ({ path, type, gzip, br }: PageFile): Decoded => ({
  path,
  type,
  gzip: Buffer.from(gzip, 'base64'),
  br: Buffer.from(br, 'base64'),
})

function send({ headers }: FastifyRequest, reply: FastifyReply, { type, gzip, br }: Decoded): FastifyReply {
  reply.header('content-type', type).header('vary', 'accept-encoding')
  const accepted = String(headers['accept-encoding'] ?? '')
  if (/\bbr\b(?!\s*;\s*q=0)/.test(accepted)) return reply.header('content-encoding', 'br').send(br)
  if (/\bgzip\b(?!\s*;\s*q=0)/.test(accepted)) return reply.header('content-encoding', 'gzip').send(gzip)
  return reply.send(gunzipSync(gzip))
}
