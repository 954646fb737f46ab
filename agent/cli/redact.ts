/** Takes what is secret out of what is shown to others. Rather too much than too little. */

const HIDDEN = '[redacted]'
/** Names of settings, headers and metadata whose values are nobody's business; files that hold such are. */
const SECRET_NAME =
  /(?:^|[-_.])(?:(?:proxy-)?authorization|cookie|set-cookie|password|passwd|passphrase|secret|credentials?|private[-_]?key|api[-_]?key|[a-z]*token)$|(?:password|secret|privateKey|apiKey|token)$/i
const PEM_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g
const URL_USER = /(\b[a-z][a-z0-9+.-]*:\/\/)[^\s/@"']+@/gi
/** RFC 7519 §3.1. */
const JWT = /\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*/g
/** `name: value` and `name=value`, where the value is no path of a file. */
const SETTING =
  /((?:[\w-]*(?:password|passwd|secret|token|authorization|api[-_]?key|private[-_]?key))["']?\s*[:=]\s*)(?!["']?\/|["']?\$\{)("[^"]*"|'[^']*'|[^\s,}"']+)/gi

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
  return text.replace(PEM_KEY, HIDDEN).replace(URL_USER, `$1${HIDDEN}@`).replace(JWT, HIDDEN)
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
