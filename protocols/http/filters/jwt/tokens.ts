/** Where a request carries tokens (RFC 6750 §2, and what providers name). Pure. */
import type { JwtProvider } from '../../../../model/http/jwt.ts'
import { queryValue, type RequestFacts } from '../../../router.ts'
import { findCookie } from '../cookie.ts'

export type FoundToken = {
  readonly token: string
  /** Lower-case name of a header. */
  readonly place: { readonly kind: 'header' | 'param' | 'cookie'; readonly name: string }
  /** Those that look for their tokens there. */
  readonly providers: readonly JwtProvider[]
}

/** More places with a token than anybody has; each costs a signature. */
const MAX_TOKENS = 8

export function findTokens(request: RequestFacts, providers: readonly JwtProvider[]): FoundToken[] {
  const found = new Map<string, FoundToken & { readonly providers: JwtProvider[] }>()
  for (const provider of providers) {
    const add = (place: FoundToken['place'], token: string | undefined, prefix = ''): void => {
      const key = `${place.kind} ${place.name} ${prefix}`
      const known = found.get(key)
      if (known) known.providers.push(provider)
      else if (token !== undefined && found.size < MAX_TOKENS) found.set(key, { token, place, providers: [provider] })
    }
    for (const { name, prefix } of provider.headers)
      add({ kind: 'header', name }, extractToken(request.header(name), prefix), prefix)
    for (const name of provider.params) add({ kind: 'param', name }, decoded(queryValue(request.path, name)))
    for (const name of provider.cookies) add({ kind: 'cookie', name }, findCookie(request.header('cookie'), name))
  }
  return [...found.values()]
}

/** The path without what the query says under that name. */
export function removeParam(path: string, name: string): string {
  const start = path.indexOf('?')
  if (start < 0) return path
  const kept = path
    .slice(start + 1)
    .split('&')
    .filter((pair) => pair !== name && !pair.startsWith(`${name}=`))
  return kept.length === 0 ? path.slice(0, start) : `${path.slice(0, start)}?${kept.join('&')}`
}

/** Envoy takes what looks like a token behind the prefix, wherever that stands in the value. */
function extractToken(value: string | undefined, prefix: string): string | undefined {
  if (value === undefined) return undefined
  if (prefix === '') return value
  const at = value.indexOf(prefix)
  if (at < 0) return undefined
  const rest = value.slice(at + prefix.length)
  return /[\w.-]+/.exec(rest)?.[0] ?? rest
}

function decoded(value: string | undefined): string | undefined {
  try {
    return value && decodeURIComponent(value)
  } catch {
    return value
  }
}
