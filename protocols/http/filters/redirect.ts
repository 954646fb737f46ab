/**
 * Path rewrites of forwarded requests and the Location of redirects (envoy.config.route.v3 RouteAction,
 * RedirectAction). Pure.
 */
import type { HostRewrite, PathRewrite, RouteAction, RouteMatch } from '../../../model/route.ts'
import { findFirstHeader, withoutQuery, type RequestFacts } from '../../router.ts'

type RedirectAction = Extract<RouteAction, { kind: 'redirect' }>

/**
 * @param path with query, which is kept
 * @returns prefix: the matched part replaced (an exact match: the whole path; a regex match: the whole path); full: the
 * whole path;
 *   regex: every match of it in the path
 */
export function rewritePath(rewrite: PathRewrite, match: RouteMatch, path: string): string {
  const bare = withoutQuery(path)
  return rewritten(rewrite, match, bare) + path.slice(bare.length)
}

/**
 * Value of the Location header: an absolute URI. Scheme, host and port that the action does not name are those of the
 * request.
 */
/** @returns undefined: the host stays, or the endpoint's name takes its place when that is known (outgoing.ts) */
export function rewriteHost(rewrite: HostRewrite | undefined, request: RequestFacts): string | undefined {
  switch (rewrite?.kind) {
    case 'literal':
      return rewrite.value
    case 'header':
      return findFirstHeader(request, rewrite.name) || undefined
    case 'path':
      return rewrite.regex.replaceAll(withoutQuery(request.path), rewrite.by)
    case 'endpoint':
    case undefined:
      return undefined
    default:
      return rewrite satisfies never
  }
}

export function redirectLocation(
  action: RedirectAction,
  match: RouteMatch,
  request: { readonly scheme: string; readonly authority: string; readonly path: string },
): string {
  const scheme = action.scheme ?? request.scheme
  return `${scheme}://${authorityOf(action, scheme, request)}${pathOf(action, match, request.path)}`
}

function authorityOf(
  action: RedirectAction,
  scheme: string,
  request: { readonly scheme: string; readonly authority: string },
): string {
  const host = action.host ?? request.authority
  if (action.port !== undefined) return `${withoutAnyPort(host)}:${action.port}`
  // http://host:80 redirected to https must not become https://host:80.
  const stale = scheme !== request.scheme && action.host === undefined ? DEFAULT_PORT[request.scheme] : undefined
  return stale !== undefined && host.endsWith(`:${stale}`) ? withoutAnyPort(host) : host
}

function pathOf(action: RedirectAction, match: RouteMatch, path: string): string {
  const bare = withoutQuery(path)
  const query = action.stripQuery ? '' : path.slice(bare.length)
  if (action.path === undefined) return bare + query
  const target = rewritten(action.path, match, bare)
  // A configured path that brings its own query replaces the request's.
  return target.includes('?') ? target : target + query
}

function rewritten(rewrite: PathRewrite, match: RouteMatch, bare: string): string {
  switch (rewrite.kind) {
    case 'full':
      return rewrite.value
    case 'regex':
      return rewrite.regex.replaceAll(bare, rewrite.by)
    case 'prefix': {
      const { path } = match
      return path.kind === 'prefix' || path.kind === 'separated-prefix'
        ? rewrite.value + bare.slice(path.value.length)
        : rewrite.value
    }
    default:
      return rewrite satisfies never
  }
}

const DEFAULT_PORT: Readonly<Record<string, number>> = { http: 80, https: 443 }

function withoutAnyPort(authority: string): string {
  return authority.replace(/:\d+$/, '')
}
