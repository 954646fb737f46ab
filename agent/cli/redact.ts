/** Takes what is secret out of what is shown to others. Rather too much than too little. */

const HIDDEN = '[redacted]'
/** Names of settings, headers and metadata whose values are nobody's business; files that hold such are. */
const SECRET_NAME =
  /(?:^|[-_.])(?:(?:proxy-)?authorization|cookie|set-cookie|password|passwd|passphrase|secret|credentials?|private[-_]?key|api[-_]?key|[a-z]*token)$|(?:password|secret|privateKey|apiKey|token)$/i
const PEM_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g
/*
 * What follows begins where a run of its characters begins and nowhere else: clients have their texts in log lines, and
 * a search that begins anew at each character of a long run takes a minute for 64 KB.
 */
const URL_USER = /((?<![a-z0-9+.-])[a-z0-9+.-]+:\/\/)[^\s/@"']+@/gi
/** Parts with dots between them, as a JWT has (RFC 7519 §3.1). */
const DOTTED = /(?<![\w.-])[\w.-]+/g
const JWT_HEAD = /\beyJ[\w-]{8,}$/
/** `name: value` and `name=value`, where the value is no path of a file. */
const SETTING =
  /((?:(?<![\w-])[\w-]*(?:password|passwd|secret|token|authorization|api[-_]?key|private[-_]?key))["']?\s*[:=]\s*)(?!["']?\/|["']?\$\{)("[^"]*"|'[^']*'|[^\s,}"']+)/gi

export function redactText(text: string): string {
  return hide(text).replace(SETTING, `$1${HIDDEN}`)
}

/** JSON stays JSON; what is none is taken as text. */
export function redactJson(text: string): string {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return redactText(text)
  }
  return JSON.stringify(redact(value), null, 1)
}

function hide(text: string): string {
  return text.replace(PEM_KEY, HIDDEN).replace(URL_USER, `$1${HIDDEN}@`).replace(DOTTED, hideJwt)
}

/** With all that stands behind it. */
function hideJwt(dotted: string): string {
  const parts = dotted.split('.')
  const at = parts.findIndex((part, i) => i + 2 < parts.length && parts[i + 1] !== '' && JWT_HEAD.test(part))
  return at < 0 ? dotted : [...parts.slice(0, at), parts[at]!.replace(JWT_HEAD, HIDDEN)].join('.')
}

function redact(value: unknown): unknown {
  if (typeof value === 'string') return hide(value)
  if (Array.isArray(value)) return value.map(redact)
  if (typeof value !== 'object' || value === null) return value
  const fields = value as Readonly<Record<string, unknown>>
  // HeaderValue and the like: the name stands beside the value.
  const named = [fields['key'], fields['name'], fields['header_name']].some(
    (name) => typeof name === 'string' && SECRET_NAME.test(name),
  )
  return Object.fromEntries(
    Object.entries(fields).map(([key, inner]) => {
      const isSecret = SECRET_NAME.test(key) || (named && /^(?:raw_)?value$/.test(key))
      return [key, isSecret && isScalar(inner) ? HIDDEN : redact(inner)]
    }),
  )
}
const isScalar = (value: unknown): boolean => typeof value === 'string' || typeof value === 'number'
