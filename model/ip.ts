import { parseIpBytes } from '../core/ip-source.ts'

export { parseIpBytes as ipBytes }

/** An address range. `bytes` is 4 or 16 long, `prefixBits` counts from its front. */
export type Cidr = { readonly text: string; readonly bytes: Uint8Array; readonly prefixBits: number }

/** @returns undefined when the address is no IP or the prefix is out of range. */
export function parseCidr(address: string, prefixBits: number | undefined): Cidr | undefined {
  const bytes = parseIpBytes(address)
  if (!bytes) return undefined
  const bits = prefixBits ?? bytes.length * 8
  if (!Number.isInteger(bits) || bits < 0 || bits > bytes.length * 8) return undefined
  return { text: `${address}/${bits}`, bytes, prefixBits: bits }
}

/** `10.0.0.0/8`, or one address. */
export function parseRange(text: string): Cidr | undefined {
  const [address = '', bits, ...more] = text.split('/')
  if (more.length > 0 || (bits !== undefined && !/^\d{1,3}$/.test(bits))) return undefined
  return parseCidr(address, bits === undefined ? undefined : Number(bits))
}

export function containsAddress(range: Cidr, address: string): boolean {
  const bytes = parseIpBytes(address)
  if (bytes?.length !== range.bytes.length) return false
  const whole = range.prefixBits >> 3
  for (let i = 0; i < whole; i++) if (bytes[i] !== range.bytes[i]) return false
  const rest = range.prefixBits & 7
  return rest === 0 || (bytes[whole]! ^ range.bytes[whole]!) >> (8 - rest) === 0
}

/** `10.0.0.1:80` or `[2001:db8::1]:80`; names, zones and ports out of range are none. */
export function parseIpAndPort(text: string | undefined): { readonly host: string; readonly port: number } | undefined {
  const [, bracketed, plain, digits] = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|([0-9.]{7,15})):(\d{1,5})$/.exec(text ?? '') ?? []
  const host = bracketed ?? plain ?? ''
  const port = Number(digits)
  const bytes = parseIpBytes(host)
  if (!bytes || (bytes.length === 16) !== (bracketed !== undefined) || port < 1 || port > 65_535) return undefined
  return { host, port }
}

/** An HTTP proxy as the environment names one (HTTPS_PROXY, NO_PROXY). */
export type EnvironmentProxy = {
  readonly address: { readonly host: string; readonly port: number }
  /** `user:password` */
  readonly credentials: string | undefined
  /** Names, addresses and ranges that are connected to directly. */
  readonly noProxy: readonly string[]
}

/**
 * NO_PROXY as it is usual: `*`; a name, for it and all below it, also with a dot in front; an address or a range. With
 * `:port` for that port only. A Unix socket is always reached directly.
 */
export function isDirect(
  noProxy: readonly string[],
  { host, port }: { readonly host: string; readonly port: number },
): boolean {
  if (host.startsWith('/')) return true
  const name = host.toLowerCase().replace(/\.$/, '')
  return noProxy.some((entry) => {
    const [, pattern = '', only] = /^(\[[^\]]*\]|[^:]*|.*:.*:.*?)(?::(\d+))?$/.exec(entry.trim().toLowerCase()) ?? []
    if (only !== undefined && Number(only) !== port) return false
    const wanted = pattern.replace(/^\[|\]$/g, '')
    if (wanted === '*') return true
    const range = parseRange(wanted)
    if (range) return containsAddress(range, name)
    const suffix = wanted.replace(/^\*?\./, '').replace(/\.$/, '')
    return suffix !== '' && (name === suffix || name.endsWith(`.${suffix}`))
  })
}
