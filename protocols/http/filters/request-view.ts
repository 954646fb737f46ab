/**
 * The last touches to a request before filters, routes and the endpoint see it, each after what forwarded.ts has made
 * of the client. In place.
 */
import type { MeshError } from '../../../core/errors.ts'
import type { Context } from '../../context.ts'
import type { HttpConnectionManager } from '../../../model/listener.ts'
import type { Tables } from '../../../model/tables.ts'
import type { RequestOrigin } from '../exchange/request-origin.ts'
import { startSpan } from '../../telemetry/tracing/tracer.ts'
import { removeWithLookAlikes, toPlainName } from '../codec/field-table.ts'
import { applyUnderscores, findFirstValue, findHeaderValue, setHeader } from './header-edit.ts'
import { prepareRequestHeaders } from './forwarded.ts'
import type { RequestHead } from '../message.ts'
import { findRouteTable } from '../exchange/planning/plan-exchange.ts'

/** @returns the client's address as trusted hops tell it, or why the request is refused */
export function prepareRequest(
  request: RequestHead,
  http: HttpConnectionManager,
  client: RequestOrigin,
  { random, tables }: Pick<Context, 'random' | 'tables'>,
): string | MeshError {
  const refusal = applyUnderscores(http.underscores, request.headers)
  if (refusal) return refusal
  request.metadata ??= client.conn.metadata
  const remoteIp = prepareRequestHeaders(request, http, client, random)
  settleRequest(request, http, client, tables.get())
  return remoteIp
}

function settleRequest(request: RequestHead, http: HttpConnectionManager, client: RequestOrigin, tables: Tables): void {
  const { headers } = request
  request.scheme = forwardedScheme(request) ?? request.scheme
  if (
    http.appendForwardedPort &&
    ((http.useRemoteAddress && http.xffTrustedHops === 0) || findHeaderValue(headers, 'x-forwarded-port') === undefined)
  ) {
    setHeader(headers, 'x-forwarded-port', String(client.conn.local.port))
  }
  const internalOnly = findRouteTable(http, tables)?.config.internalOnly
  if (internalOnly) removeWithLookAlikes(headers, new Set(internalOnly.map(toPlainName)))
  if (http.tracing)
    request.span = startSpan(
      {
        find: (name) => findFirstValue(headers, name),
        setRequestId: (id) => setHeader(headers, 'x-request-id', id),
        isInbound: client.conn.listener.direction === 'inbound',
      },
      http.tracing,
      client.random,
    )
}

/** A proxy before this one may have terminated TLS (as Envoy, where x-forwarded-proto is not its own). */
function forwardedScheme(request: RequestHead): 'http' | 'https' | undefined {
  const field = request.header('x-forwarded-proto')
  if (field === request.scheme) return field
  const scheme = field?.toLowerCase()
  return scheme === 'http' || scheme === 'https' ? scheme : undefined
}
