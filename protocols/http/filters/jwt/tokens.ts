/** Where a request carries tokens (RFC 6750 §2, and what providers name). Pure. */
import type { JwtProvider } from '../../../../model/http/jwt.ts'
import type { RequestFacts } from '../../../router.ts'
import { listCookies } from '../cookie.ts'

export type FoundToken = {
  readonly token: string
  /** Lower-case name of a header. */
  readonly place: { readonly kind: 'header' | 'param' | 'cookie'; readonly name: string }
  /** Those that look for their tokens there. */
  readonly providers: readonly JwtProvider[]
}

/** More tokens than anybody has; each costs a signature. Whoever brings more is refused. */
export const MAX_TOKENS = 8

/** Where one of these places holds several, all of them: whoever is behind may take any. */
export function findTokens(request: RequestFacts, providers: readonly JwtProvider[]): FoundToken[] {
  const found = new Map<string, readonly (FoundToken & { readonly providers: JwtProvider[] })[]>()
  for (const provider of providers) {
    const add = (place: FoundToken['place'], prefix: string, list: () => readonly string[]): void => {
      const key = `${place.kind} ${place.name} ${prefix}`
      const known = found.get(key)
      if (known) for (const { providers: of } of known) of.push(provider)
      else
        found.set(
          key,
          list().map((token) => ({ token, place, providers: [provider] })),
        )
    }
    for (const { name, prefix } of provider.headers)
      add({ kind: 'header', name }, prefix, () => extractToken(request.header(name), prefix))
    for (const name of provider.params) add({ kind: 'param', name }, '', () => listParams(request.path, name))
    for (const name of provider.cookies)
      add({ kind: 'cookie', name }, '', () =>
        listCookies((request.values ?? request.header).call(request, 'cookie'), name),
      )
  }
  return [...found.values()].flat()
}

/** @param name decodeEscapes: `access%5Ftoken` is `access_token` for whoever reads it */
function listParams(path: string, name: string): string[] {
  const start = path.indexOf('?')
  if (start < 0) return []
  return path
    .slice(start + 1)
    .split('&')
    .flatMap((pair) => {
      const [key = '', ...value] = pair.split('=')
      return decodeEscapes(key) === name ? [decodeEscapes(value.join('='))] : []
    })
}

/** The path without what the query says under that name. */
export function removeParam(path: string, name: string, read = (key: string): string => key): string {
  const start = path.indexOf('?')
  if (start < 0) return path
  const kept = path
    .slice(start + 1)
    .split('&')
    .filter((pair) => read(pair.split('=', 1)[0]!) !== name)
  return kept.length === 0 ? path.slice(0, start) : `${path.slice(0, start)}?${kept.join('&')}`
}

/** Envoy passes over what stands between the prefix and the token, and takes nothing behind it but padding. */
function extractToken(value: string | undefined, prefix: string): readonly string[] {
  if (value === undefined) return []
  if (prefix === '') return [value]
  const at = value.indexOf(prefix)
  if (at < 0) return []
  const rest = value.slice(at + prefix.length)
  const start = rest.search(/[\w.-]/)
  return [start < 0 ? rest : rest.slice(start).replace(/=+$/, '')]
}

export function decodeEscapes(text: string): string {
  if (!text.includes('%')) return text
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
