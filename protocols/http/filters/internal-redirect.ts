/**
 * Redirects that are followed here instead of by the client (Envoy's internal redirects). The request that follows is a
 * new one for filters and routes: a policy that refuses the target refuses it here, too.
 */
import type { InternalRedirects } from '../../../model/http/internal-redirect.ts'
import type { HttpConnectionManager } from '../../../model/listener.ts'
import { isRequestChanged } from './bodies/body-filter.ts'
import { matchRoute } from '../../router.ts'
import type { Context } from '../../context.ts'
import type { ReplayBuffer } from '../exchange/replay-buffer.ts'
import type { RequestOrigin } from '../exchange/request-origin.ts'
import { findRouteTable } from '../exchange/planning/plan-exchange.ts'
import type { ForwardPlan } from '../exchange/planning/plan.ts'
import { removeHeader } from '../codec/field-table.ts'
import { RequestHead, type ResponseHead, type UpstreamRequest } from '../message.ts'
import { findFirstValue, isEditable, setHeader } from './header-edit.ts'
import { normalizeHost, normalizePath } from './path-normalize.ts'

/** The exchange. */
type Redirected = {
  readonly request: RequestHead
  readonly http: HttpConnectionManager
  readonly body: ReplayBuffer
  readonly client: Pick<RequestOrigin, 'conn'>
}

/** Of one request of a client. */
export class RedirectsSoFar {
  #count = 0
  /** By the route that the redirect came from. */
  readonly #visited = new Map<string, Set<string>>()

  /**
   * @param sent as the endpoint got the request
   * @returns undefined: the client gets the redirect
   */
  next(
    plan: ForwardPlan,
    answer: ResponseHead,
    sent: UpstreamRequest,
    of: Redirected,
    { tables, random }: Pick<Context, 'tables' | 'random'>,
  ): RequestHead | undefined {
    const policy = plan.action.internalRedirects
    const { body, http } = of
    if (!policy?.statuses.has(answer.status) || this.#count >= policy.max) return undefined
    // A body that has not come, or is gone, cannot be sent again; what filters have made of it is made once.
    if (!body.ended || !(body.replayable || body.bytes === 0) || isRequestChanged(plan.bodies) || of.request.upgrade)
      return undefined
    const target = readTarget(findFirstValue(answer.headers, 'location') ?? '', of)
    if (!target || (target.scheme !== of.request.scheme && !policy.crossesSchemes)) return undefined
    const next = followTo(target, answer, sent, of.request, policy)
    const table = findRouteTable(http, tables.get())
    const routed = table && matchRoute(table, next, random)
    if (!routed || !this.#permits(policy, plan.routeName, routed.route.name, of.request.scheme, target.scheme))
      return undefined
    this.#count++
    // What filters have found out is of the request before.
    next.metadata = of.client.conn.metadata
    return next
  }

  #permits(policy: InternalRedirects, from: string, to: string, fromScheme: string, toScheme: string): boolean {
    return policy.predicates.every((predicate) => {
      switch (predicate.kind) {
        case 'previous-routes': {
          const visited = this.#visited.get(from) ?? new Set()
          this.#visited.set(from, visited)
          return !visited.has(to) && visited.add(to).size > 0
        }
        case 'allowed-routes':
          return predicate.names.has(to)
        case 'safe-scheme':
          return fromScheme === 'https' || toScheme === 'http'
        default:
          return predicate satisfies never
      }
    })
  }
}

type Target = { readonly scheme: 'http' | 'https'; readonly authority: string; readonly path: string }
const TARGET = /^(https?):\/\/([A-Za-z0-9._~\-[\]:%!$&'()*+,;=]+)(\/[^#]*|\?[^#]*)?(?:#.*)?$/i

/** @returns undefined: it is no absolute URL of HTTP, or its path would be refused */
function readTarget(location: string, { http, client }: Redirected): Target | undefined {
  const [, scheme = '', authority = '', path = '/'] = TARGET.exec(location) ?? []
  if (authority === '') return undefined
  // oxlint-disable-next-line no-control-regex -- what no request line may hold
  if (/[^\x21-\x7e]/.test(path)) return undefined
  try {
    return {
      scheme: scheme.toLowerCase() === 'https' ? 'https' : 'http',
      authority: normalizeHost(authority, http, client.conn.local.port),
      path: normalizePath(path.startsWith('/') ? path : `/${path}`, http),
    }
  } catch {
    return undefined
  }
}

function followTo(
  { scheme, authority, path }: Target,
  answer: ResponseHead,
  sent: UpstreamRequest,
  request: RequestHead,
  { copies }: InternalRedirects,
): RequestHead {
  // RFC 9110 §15.4.4: see other is to be looked at, not to be done again.
  const isLook = answer.status === 303 && request.method !== 'GET' && request.method !== 'HEAD'
  const headers = [...request.headers]
  for (const name of copies) {
    if (!isEditable(name)) continue
    removeHeader(headers, name)
    for (let i = 0; i < answer.headers.length; i += 2)
      if (answer.headers[i] === name) headers.push(name, answer.headers[i + 1]!)
  }
  setHeader(headers, 'x-envoy-original-url', `${request.scheme}://${sent.authority}${sent.path}`)
  const next = new RequestHead({
    method: isLook ? 'GET' : request.method,
    scheme,
    authority,
    path,
    headers,
    version: request.version,
    bodyLength: isLook ? 0 : request.bodyLength,
    upgrade: undefined,
    expectContinue: false,
  })
  next.peerId = request.peerId
  next.peerMetadata = request.peerMetadata
  next.span = request.span
  return next
}
