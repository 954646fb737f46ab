import { PATH } from '../../core/relay/kinds.ts'

/** `wss://hub.example:8443`: the hub's relay, in place of HOST:PORT. */
export type HubAddress = {
  readonly host: string
  readonly port: number
  readonly path: string
  /** As it was written. */
  readonly text: string
}

const SCHEME = 'wss://'
const DEFAULT_PORT = 443

export function isHubAddress(address: string): boolean {
  return address.startsWith(SCHEME)
}

/** Undefined when it is none: a user, a query or a fragment has no meaning here. */
export function parseHubAddress(text: string): HubAddress | undefined {
  const url = URL.parse(text)
  if (!isHubAddress(text) || url?.protocol !== 'wss:' || url.hostname === '') return undefined
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') return undefined
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? DEFAULT_PORT : Number(url.port),
    path: url.pathname === '/' ? PATH : url.pathname,
    text,
  }
}
