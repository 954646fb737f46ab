/**
 * The PROXY header that we send (haproxy.org, proxy-protocol.txt): who is behind a connection of ours, before anything
 * else on it, TLS included. How one is read: downstream/proxy-protocol.ts.
 */
import type { Address } from '../core/os/network.ts'
import type { Tlv } from '../model/cluster.ts'
import { ipBytes } from '../model/ip.ts'
import type { ProxyVersion } from '../model/listener.ts'

export const V2_SIGNATURE = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a])
/** Of an IPv4 address in IPv6. */
export const V4_IN_V6 = Buffer.from('00000000000000000000ffff', 'hex')

/* §2.2.5 and §2.2.6. */
export const TLV = { authority: 0x02, tls: 0x20, tlsVersion: 0x21, commonName: 0x22 } as const
export const CLIENT = { tls: 0x01, certificateOnConnection: 0x02, certificateInSession: 0x04 } as const
/** Longer names are left out: nobody's certificate has them, and readers bound what they take. */
const MAX_NAME_BYTES = 255
const MAX_LENGTH = 0xffff

export type ProxiedEnds = {
  readonly source: Address
  /** Where the client went. */
  readonly destination: Address
  /** Of a client that came with TLS. Version 2 alone has a place for it. */
  readonly tls?: ProxiedClientTls
  /** What else is said; left out where the header would be longer than its length can say. */
  readonly tlvs?: readonly Tlv[]
}
/** `certificate`: one that was verified. */
export type ProxiedClientTls = {
  readonly version: string
  readonly serverName: string
  readonly certificate: { readonly commonName: string | undefined } | undefined
}

/** Addresses that are none of IP, as of a Unix socket, are not said: the connection counts as one of our own. */
export function encodeProxyHeader(version: ProxyVersion, ends: ProxiedEnds): Buffer {
  const addresses = findAddresses(ends)
  return version === 1 ? encodeV1(ends, addresses) : encodeV2(ends, addresses)
}

type Addresses = { readonly family: 4 | 6; readonly source: Buffer; readonly destination: Buffer }

/** Both of one family: where they differ, the IPv4 address is written as one of IPv6. */
function findAddresses({ source, destination }: ProxiedEnds): Addresses | undefined {
  const [from, to] = [ipBytes(source.host), ipBytes(destination.host)]
  if (!from || !to) return undefined
  if (from.length === 4 && to.length === 4)
    return { family: 4, source: Buffer.from(from), destination: Buffer.from(to) }
  return { family: 6, source: inV6(from), destination: inV6(to) }
}
const inV6 = (bytes: Uint8Array): Buffer =>
  bytes.length === 16 ? Buffer.from(bytes) : Buffer.concat([V4_IN_V6, bytes])

function encodeV1({ source, destination }: ProxiedEnds, addresses: Addresses | undefined): Buffer {
  if (!addresses) return Buffer.from('PROXY UNKNOWN\r\n')
  const { family } = addresses
  const write = (host: string): string => (family === 4 || host.includes(':') ? host : `::ffff:${host}`)
  const hosts = `${write(source.host)} ${write(destination.host)}`
  return Buffer.from(`PROXY TCP${family} ${hosts} ${source.port} ${destination.port}\r\n`)
}

function encodeV2({ source, destination, tls, tlvs = [] }: ProxiedEnds, addresses: Addresses | undefined): Buffer {
  const body = addresses ? [addresses.source, addresses.destination, uint16(source.port), uint16(destination.port)] : []
  if (tls) body.push(...encodeTls(tls))
  const more = addresses ? tlvs.map(({ type, value }) => encodeTlv(type, value)) : []
  const whole = Buffer.concat([...body, ...more])
  const content = whole.length > MAX_LENGTH ? Buffer.concat(body) : whole
  // A connection of a client (PROXY) over TCP, or one of our own (LOCAL).
  const command = addresses ? 0x21 : 0x20
  const family = addresses ? (addresses.family === 4 ? 0x11 : 0x21) : 0x00
  return Buffer.concat([V2_SIGNATURE, Buffer.from([command, family]), uint16(content.length), content])
}
function encodeTls({ version, serverName, certificate }: ProxiedClientTls): Buffer[] {
  const client = CLIENT.tls | (certificate ? CLIENT.certificateOnConnection | CLIENT.certificateInSession : 0)
  const about = [
    // `verify` is zero for a certificate that was verified, and nothing else.
    Buffer.from([client, 0, 0, 0, certificate ? 0 : 1]),
    encodeTlv(TLV.tlsVersion, version),
    encodeTlv(TLV.commonName, certificate?.commonName ?? ''),
  ]
  return [encodeTlv(TLV.authority, serverName), encodeTlv(TLV.tls, Buffer.concat(about))]
}
function encodeTlv(type: number, value: string | Uint8Array): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value
  if (bytes.length === 0 || (typeof value === 'string' && bytes.length > MAX_NAME_BYTES)) return Buffer.alloc(0)
  return Buffer.concat([Buffer.from([type]), uint16(bytes.length), bytes])
}
function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}
