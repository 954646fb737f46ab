/**
 * Any page that a browser on this machine or in this network shows can send requests here. What tells it apart: the
 * Origin that the browser adds (RFC 6454 §7; always to a WebSocket, RFC 6455 §10.2), Sec-Fetch-Site (Fetch Metadata
 * §2.3), and the Host that it asked for, which is the page's own name when that name was made to point here (DNS
 * rebinding). A program without a browser sends what it likes and is checked by other means.
 */
import { ipBytes } from './ip.ts'

/**
 * Name or address of a Host header (RFC 9110 §7.2), as URLs write it: lower case, no port, no final dot. Undefined when
 * it is none, or more than one.
 */
export function parseHostName(host: string | undefined): string | undefined {
  if (host === undefined || !/^[^\s/?#@\\,]+$/.test(host)) return undefined
  return nameOf(`http://${host}`)
}

/** The same of an Origin header; undefined for `null` (a page without one of its own) and what is no origin. */
export function parseOriginName(origin: string): string | undefined {
  return /^[A-Za-z][A-Za-z0-9+.-]*:\/\/[^\s/?#@\\,]+$/.test(origin)
    ? nameOf(origin.replace(/^[^:]*/, 'http'))
    : undefined
}

function nameOf(url: string): string | undefined {
  const name = URL.parse(url)?.hostname.replace(/\.$/, '')
  return name === '' ? undefined : name
}

/**
 * No DNS answer leads from this to another machine than it says: an address, or this machine's own name for itself (RFC
 * 6761 §6.3).
 */
export function isUnforgeable(name: string): boolean {
  return name === 'localhost' || name.endsWith('.localhost') || ipBytes(unbracketed(name)) !== undefined
}

/** Addresses of this machine alone, and the names for them. */
export function isLoopback(name: string): boolean {
  const bytes = ipBytes(unbracketed(name))
  if (!bytes) return name === 'localhost' || name.endsWith('.localhost')
  return bytes.length === 4 ? bytes[0] === 127 : bytes.every((byte, i) => byte === (i === 15 ? 1 : 0))
}

/** Two names for the same host, as far as names can say. */
export function isSameHost(a: string, b: string): boolean {
  return a === b || (isLoopback(a) && isLoopback(b))
}

/** Of node:http's request. */
export type Asked = {
  readonly headers: {
    readonly host?: string | undefined
    readonly origin?: string | undefined
    readonly 'sec-fetch-site'?: string | string[] | undefined
  }
  readonly rawHeaders: readonly string[]
}

/**
 * Why a page of a browser may not ask an admin port; undefined for the port's own pages and for programs. Also of GET:
 * what is shown there is for whoever works on this machine, and a page elsewhere has no use for it that they would know
 * of.
 */
export function findForeignCaller({ headers, rawHeaders }: Asked): string | undefined {
  // One that rebinds its name to 127.0.0.1 still sends its own name here.
  const hosts = rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === 'host').length
  const host = parseHostName(headers.host)
  if (host === undefined || hosts !== 1 || !isUnforgeable(host)) return 'only addresses and localhost are served here'
  const { origin, 'sec-fetch-site': site } = headers
  if (
    origin !== undefined &&
    (origin.includes(',') || URL.parse(origin)?.host !== URL.parse(`http://${headers.host}`)?.host)
  )
    return 'this is not for pages of another origin'
  if (site !== undefined && site !== 'same-origin' && site !== 'none')
    return 'this is not for pages of another origin; type the address into the browser'
  return undefined
}

function unbracketed(name: string): string {
  return name.replace(/^\[|\]$/g, '')
}
