/** The four forms of a request target (RFC 9112 §3.2). Pure. */

/** `authority` '' = the Host field decides. `path` '' = CONNECT. */
export type RequestTarget = { readonly path: string; readonly authority: string }

/** @returns what is wrong, as text, for what is none of the four forms or does not fit the method */
export function parseRequestTarget(method: string, target: string): RequestTarget | string {
  for (let i = 0; i < target.length; i++) {
    const code = target.charCodeAt(i)
    // Space and control characters, non-ASCII, and the fragment that is never sent (RFC 9110 §7.1).
    if (code <= 0x20 || code >= 0x7f || code === 0x23) return 'the request target holds a character that is not permitted (RFC 3986 §2)'
  }
  if (method === 'CONNECT') return authorityForm(target)
  if (target.charCodeAt(0) === 47) return { path: target, authority: '' }
  if (target === '*') return method === 'OPTIONS' ? { path: '*', authority: '' } : 'the target "*" is for OPTIONS only (RFC 9112 §3.2.4)'
  return absoluteForm(method, target)
}

function authorityForm(target: string): RequestTarget | string {
  const port = /^(?:[A-Za-z0-9\-._~]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})$/.exec(target)?.[1]
  if (port === undefined || Number(port) === 0 || Number(port) > 65_535) return 'the target of CONNECT is not host:port (RFC 9112 §3.2.3)'
  return { path: '', authority: target.toLowerCase() }
}

function absoluteForm(method: string, target: string): RequestTarget | string {
  const parts = /^https?:\/\/([A-Za-z0-9\-._~%!$&'()*+;=:[\]]+)([/?].*)?$/i.exec(target)
  if (!parts) return 'the request target has none of the four forms (RFC 9112 §3.2)'
  const rest = parts[2] ?? (method === 'OPTIONS' ? '*' : '/')
  return { authority: parts[1]!, path: rest.startsWith('?') ? `/${rest}` : rest }
}
