/** A request's field list (RFC 9113 §8.3) as the head that policies and endpoints see, checked as HTTP/1.1's is. */
import { MeshError } from '../../../core/errors.ts'
import type { HttpConnectionManager } from '../../../model/listener.ts'
import type { RequestOrigin } from '../exchange/request-origin.ts'
import { joinCookie } from '../codec/hpack/sensitive.ts'
import { isHopByHop } from '../codec/field-table.ts'
import type { HeadLimits } from '../codec/h1-head.ts'
import { findMethodProblem, parsePseudoTarget } from '../codec/h1-target.ts'
import { checkFieldList } from '../head-limits.ts'
import { RequestHead } from '../message.ts'
import { normalizeHost, normalizePath } from '../filters/path-normalize.ts'

export type RequestContext = {
  readonly client: RequestOrigin
  readonly http: HttpConnectionManager
  readonly limits: HeadLimits
}

const COLON = 58

/**
 * Throws MESH_MALFORMED_INPUT and MESH_HEADERS_TOO_LARGE.
 * @param fields that the session has found to be a request
 * @param bodyLength as RequestHead.bodyLength
 */
export function toRequestHead(fields: readonly string[], bodyLength: number, context: RequestContext): RequestHead {
  const { client, http, limits } = context
  checkFieldList(fields, limits)
  const headers: string[] = []
  let method = ''
  let path: string | undefined
  let authority: string | undefined
  let host: string | undefined
  let cookie: string | undefined
  let cookies: string[] | undefined
  let expectContinue = false
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i]!
    const value = fields[i + 1]!
    if (name.charCodeAt(0) === COLON) {
      if (name === ':method') method = value
      else if (name === ':path') path = value
      else if (name === ':authority') authority = value
    } else if (name === 'content-length' || isHopByHop(name)) continue
    else if (name === 'host') host = value
    // §8.2.3: pairs may come in several fields; anything that is not HTTP/2 wants them in one.
    else if (name === 'cookie') {
      if (cookie === undefined) cookie = value
      else (cookies ??= [cookie]).push(value)
    } else if (name === 'expect' && value.toLowerCase() === '100-continue') expectContinue = true
    else headers.push(name, value)
  }
  if (cookie !== undefined) headers.push('cookie', cookies === undefined ? cookie : joinCookie(cookies))
  const target = findMethodProblem(method) ?? parsePseudoTarget(method, authority ?? host, path)
  if (typeof target === 'string') throw new MeshError('MESH_MALFORMED_INPUT', target)
  return new RequestHead({
    method,
    scheme: client.scheme,
    authority: method === 'CONNECT' ? target.authority : normalizeHost(target.authority, http, client.conn.local.port),
    path: normalizePath(target.path, http),
    target: target.path,
    headers,
    version: 'HTTP/2',
    bodyLength,
    upgrade: undefined,
    expectContinue,
  })
}
