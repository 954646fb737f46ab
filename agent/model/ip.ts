import net from 'node:net'

/** An address range. `bytes` is 4 or 16 long, `prefixBits` counts from its front. */
export type Cidr = { readonly text: string; readonly bytes: Uint8Array; readonly prefixBits: number }

/** @returns undefined when the address is no IP or the prefix is out of range. */
export function cidr(address: string, prefixBits: number | undefined): Cidr | undefined {
  const bytes = ipBytes(address)
  if (!bytes) return undefined
  const bits = prefixBits ?? bytes.length * 8
  if (!Number.isInteger(bits) || bits < 0 || bits > bytes.length * 8) return undefined
  return { text: `${address}/${bits}`, bytes, prefixBits: bits }
}

export function cidrContains(range: Cidr, address: string): boolean {
  const bytes = ipBytes(address)
  if (bytes?.length !== range.bytes.length) return false
  const whole = range.prefixBits >> 3
  for (let i = 0; i < whole; i++) if (bytes[i] !== range.bytes[i]) return false
  const rest = range.prefixBits & 7
  return rest === 0 || (bytes[whole]! ^ range.bytes[whole]!) >> (8 - rest) === 0
}

/** 4 or 16 bytes; an IPv4-mapped IPv6 address gives 4, because policies mean the IPv4 address. */
export function ipBytes(address: string): Uint8Array | undefined {
  if (net.isIPv4(address)) return Uint8Array.from(address.split('.'), Number)
  if (!net.isIPv6(address)) return undefined
  const bytes = ipv6Bytes(address)
  const mapped = bytes.subarray(0, 10).every((b) => b === 0) && bytes[10] === 0xff && bytes[11] === 0xff
  return mapped ? bytes.slice(12) : bytes
}

function ipv6Bytes(address: string): Uint8Array {
  const [text = ''] = address.split('%')
  const v4 = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text)
  const hexOnly = v4 ? `${v4[1]}${((+v4[2]! << 8) | +v4[3]!).toString(16)}:${((+v4[4]! << 8) | +v4[5]!).toString(16)}` : text
  const [head = '', tail] = hexOnly.split('::')
  const groups = (s: string): number[] => (s ? s.split(':').map((g) => parseInt(g, 16)) : [])
  const front = groups(head)
  const back = tail === undefined ? [] : groups(tail)
  const all = tail === undefined ? front : [...front, ...Array.from({ length: 8 - front.length - back.length }, () => 0), ...back]
  return Uint8Array.from(all.flatMap((g) => [g >> 8, g & 0xff]))
}
