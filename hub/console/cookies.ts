/** The console's cookies: bound to this host and to HTTPS (or loopback) by their prefix (RFC 6265bis §4.1.3.2), out of reach of scripts. */
export const SESSION_COOKIE = '__Host-meshlet'
/** Of a login that is under way at an issuer. */
export const LOGIN_COOKIE = '__Host-meshlet-login'
const MAX_CHARS = 4_096

/** The value of the only cookie of this name; two of them are of somebody who plants one. */
export function readCookie(header: string | undefined, name: string): string | undefined {
  const found = (header ?? '')
    .slice(0, MAX_CHARS)
    .split(';')
    .map((one) => one.trim())
    .filter((one) => one.startsWith(`${name}=`))
  return found.length === 1 ? found[0]!.slice(name.length + 1) : undefined
}

/** `Lax` where the browser comes from an issuer: the cookie must come along. `value` empty: it ends. */
export function formatCookie(
  name: string,
  value: string,
  p: { readonly sameSite: 'Strict' | 'Lax'; readonly maxAgeSec: number },
): string {
  return `${name}=${value}; Path=/; Secure; HttpOnly; SameSite=${p.sameSite}; Max-Age=${value === '' ? 0 : p.maxAgeSec}`
}
