/** The source of a connection: addresses that count as one client. */
import net from 'node:net'

/**
 * 4 or 16 bytes; an IPv4-mapped IPv6 address gives 4, because whoever has it came over IPv4. Undefined: no IP address.
 */
export function parseIpBytes(address: string): Uint8Array | undefined {
  if (net.isIPv4(address)) return Uint8Array.from(address.split('.'), Number)
  if (!net.isIPv6(address)) return undefined
  const bytes = ipv6Bytes(address)
  const mapped = bytes.subarray(0, 10).every((b) => b === 0) && bytes[10] === 0xff && bytes[11] === 0xff
  return mapped ? bytes.slice(12) : bytes
}

/**
 * An IPv4 address; of IPv6 the /64, for that is what one subscriber or one host is given to choose from (RFC 4291
 * §2.5.4). What is no address is itself.
 */
export function deriveSource(address: string): string {
  if (!address.includes(':')) return address
  const bytes = parseIpBytes(address)
  if (bytes?.length === 4) return bytes.join('.')
  if (bytes?.length !== 16) return address
  return `${[0, 2, 4, 6].map((i) => ((bytes[i]! << 8) | bytes[i + 1]!).toString(16)).join(':')}::/64`
}

function ipv6Bytes(address: string): Uint8Array {
  const [text = ''] = address.split('%')
  const v4 = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text)
  const hexOnly = v4
    ? `${v4[1]}${((+v4[2]! << 8) | +v4[3]!).toString(16)}:${((+v4[4]! << 8) | +v4[5]!).toString(16)}`
    : text
  const [head = '', tail] = hexOnly.split('::')
  const groups = (s: string): number[] => (s ? s.split(':').map((g) => parseInt(g, 16)) : [])
  const front = groups(head)
  const back = tail === undefined ? [] : groups(tail)
  const all =
    tail === undefined ? front : [...front, ...Array.from({ length: 8 - front.length - back.length }, () => 0), ...back]
  return Uint8Array.from(all.flatMap((g) => [g >> 8, g & 0xff]))
}
