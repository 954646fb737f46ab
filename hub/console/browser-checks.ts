/**
 * What the browser says about where a request comes from. A page of anybody can make a browser send requests here, with
 * the operator's cookie where the browser lets it: the Host must be one of ours (DNS rebinding), a change must come from
 * our own origin (RFC 6454 §7, Fetch Metadata §2) and carry a header that no form and no plain link can send.
 */
import type { IncomingMessage } from 'node:http'
import { MeshError } from '../../core/errors.ts'
import { isUnforgeable, parseHostName } from '../../model/browser.ts'

/** Sent with every request of the page that changes something; another origin would have to ask first (CORS). */
export const CHANGE_HEADER = 'x-meshlet-console'
const SAFE = new Set(['GET', 'HEAD'])

export type Origins = {
  /** Lower-case names without port that are ours beside addresses and localhost. */
  readonly names: ReadonlySet<string>
  /** Where a proxy says it; its Host may have another port. */
  readonly publicOrigin: string | undefined
}

export function readOrigins(p: {
  readonly publicUrl: string | undefined
  readonly dnsNames: readonly string[]
}): Origins {
  const url = p.publicUrl === undefined ? undefined : URL.parse(p.publicUrl)!
  return {
    names: new Set([...p.dnsNames.map((name) => name.toLowerCase()), ...(url ? [url.hostname] : [])]),
    publicOrigin: url?.origin,
  }
}

/** Throws MESH_CONSOLE_FOREIGN. */
export function checkBrowser(
  { headers, rawHeaders, method = '' }: Pick<IncomingMessage, 'headers' | 'rawHeaders' | 'method'>,
  { names, publicOrigin }: Origins,
): void {
  const hosts = rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === 'host').length
  const host = parseHostName(headers.host)
  if (host === undefined || hosts !== 1 || !(isUnforgeable(host) || names.has(host)))
    throw new MeshError('MESH_CONSOLE_FOREIGN', `the Host ${quote(headers.host)} is none of this console's names`)
  const { origin, 'sec-fetch-site': site, 'sec-fetch-mode': mode } = headers
  const isOwn = origin === undefined || origin === publicOrigin || URL.parse(origin)?.host === ownHost(headers.host!)
  if (!isOwn || origin === 'null') throw new MeshError('MESH_CONSOLE_FOREIGN', `a page of ${quote(origin)} asks`)
  const isForeign = site !== undefined && site !== 'same-origin' && site !== 'none'
  if (SAFE.has(method)) {
    // A link on another page may lead here, and an issuer sends the browser back.
    if (isForeign && mode !== 'navigate') throw new MeshError('MESH_CONSOLE_FOREIGN', 'a page of another origin asks')
    return
  }
  if (isForeign) throw new MeshError('MESH_CONSOLE_FOREIGN', 'a page of another origin asks')
  // No page can have a browser send a bearer elsewhere (Fetch §4.8: that is asked for first), and no cookie counts then.
  if (headers[CHANGE_HEADER] === undefined && readBearer(headers) === undefined)
    throw new MeshError('MESH_CONSOLE_FOREIGN', `a change without the header ${CHANGE_HEADER}`)
}

/** What a command line shows (RFC 6750 §2.1); undefined: another scheme, as a proxy may have one, or none. */
export function readBearer({ authorization }: Pick<IncomingMessage['headers'], 'authorization'>): string | undefined {
  return /^bearer +(.*)$/i.exec(authorization ?? '')?.[1]
}

const ownHost = (host: string): string | undefined => URL.parse(`http://${host}`)?.host
const MAX_QUOTED = 100
const quote = (text: string | undefined): string => JSON.stringify((text ?? '').slice(0, MAX_QUOTED))
