/**
 * PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): who really connects, told by a load balancer in
 * front. What it says is believed only of sources that the configuration names.
 */
import net from 'node:net'
import type { Duplex } from 'node:stream'
import type { Clock } from '../../core/os/clock.ts'
import { MeshError } from '../../core/errors.ts'
import { guard } from '../../core/defects/guard.ts'
import type { Address } from '../../core/os/network.ts'
import type { Tlv } from '../../model/cluster.ts'
import { ipBytes } from '../../model/ip.ts'
import type { ProxyProtocol, ProxyVersion } from '../../model/listener.ts'
import { CLIENT, TLV, V2_SIGNATURE, V4_IN_V6 } from '../proxy-header.ts'
import type { Connection } from '../connection.ts'
import type { Abortable } from '../../core/runtime/notice.ts'
import type { Hold } from '../waiting.ts'
import type { CountFirstBytes } from './sniff.ts'

const LINE_START = Buffer.from('PROXY ')
/** Of version 1, its line break included (§2.1). */
const MAX_LINE_BYTES = 107
const HEAD_BYTES = 16
/** Addresses and TLVs of version 2: balancers send some hundred bytes. */
const MAX_V2_BYTES = 4 * 1024
const NO_BYTES = Buffer.alloc(0)

/** `source` is undefined for what the balancer sends by itself (LOCAL, UNKNOWN). `bytes`: how long the header is. */
export type ProxyHeader = {
  readonly source: Address | undefined
  readonly destination?: Address
  readonly bytes: number
  /** Undefined: the client came to the balancer without, or the balancer does not say. */
  readonly tls?: ProxiedTls
  /** Of version 2, in their order. */
  readonly tlvs?: readonly Tlv[]
}
/** The common name is of a certificate that the balancer has verified. */
export type ProxiedTls = { readonly commonName: string | undefined }

type Found = ProxyHeader | 'more' | { readonly problem: string }
type Rules = Pick<ProxyProtocol, 'isOptional' | 'disallowedVersions'>
const ANY_HEADER: Rules = { isOptional: false, disallowedVersions: [] }

/** @returns `more` while it may become a header; a sentence when it is none. Never throws. */
export function parseProxyHeader(bytes: Buffer, { isOptional, disallowedVersions }: Rules = ANY_HEADER): Found {
  const version = versionOf(bytes)
  if (version !== undefined && disallowedVersions.includes(version))
    return isOptional ? NO_HEADER : { problem: `a PROXY header of version ${version} is not taken here` }
  if (version === undefined) return isOptional ? NO_HEADER : NOT_BEGUN
  return version === 2 ? (bytes.length < V2_SIGNATURE.length ? 'more' : parseV2(bytes)) : parseV1(bytes)
}
/** What was said is the client's, and stays. */
const NO_HEADER: ProxyHeader = { source: undefined, bytes: 0 }
const NOT_BEGUN = { problem: 'the connection does not begin with a PROXY header' }

/** The version that it is, or may become: the two differ in their first byte. */
function versionOf(bytes: Buffer): ProxyVersion | undefined {
  const isBegunBy = (sign: Buffer): boolean => {
    const start = bytes.subarray(0, sign.length)
    return start.equals(sign.subarray(0, start.length))
  }
  return isBegunBy(V2_SIGNATURE) ? 2 : isBegunBy(LINE_START) ? 1 : undefined
}

function parseV1(bytes: Buffer): Found {
  const text = bytes.toString('latin1', 0, MAX_LINE_BYTES)
  const end = text.indexOf('\r\n')
  if (end < 0) return text.length < MAX_LINE_BYTES ? 'more' : { problem: 'the PROXY line is too long' }
  const [, family, from, to, fromPort = '', toPort = '', ...more] = text.slice(0, end).split(' ')
  if (family === 'UNKNOWN') return { source: undefined, bytes: end + 2 }
  const version = family === 'TCP4' ? 4 : family === 'TCP6' ? 6 : 0
  const isAddress = (one: string | undefined): one is string => one !== undefined && net.isIP(one) === version
  const isPort = (one: string): boolean => /^(0|[1-9]\d{0,4})$/.test(one) && Number(one) <= 65_535
  if (version === 0 || more.length > 0 || !isAddress(from) || !isAddress(to) || !isPort(fromPort) || !isPort(toPort))
    return { problem: 'the PROXY line is malformed' }
  const address = (host: string, port: string): Address => ({
    host: textOf(Buffer.from(ipBytes(host) ?? NO_BYTES)),
    port: Number(port),
  })
  return { source: address(from, fromPort), destination: address(to, toPort), bytes: end + 2 }
}

function parseV2(bytes: Buffer): Found {
  if (bytes.length < HEAD_BYTES) return 'more'
  const [versionAndCommand, family, length] = [bytes[12]!, bytes[13]! >> 4, bytes.readUInt16BE(14)]
  const command = versionAndCommand & 0xf
  if (versionAndCommand >> 4 !== 2 || command > 1)
    return { problem: 'the PROXY header has a version or command that is not known' }
  if (length > MAX_V2_BYTES) return { problem: 'the PROXY header is too long' }
  const end = HEAD_BYTES + length
  if (bytes.length < end) return 'more'
  if (command === 0) return { source: undefined, bytes: end }
  const addressBytes = family === 1 ? 4 : family === 2 ? 16 : 0
  // §2.2: what is no TCP over IP is to be taken as if nothing was said.
  if (addressBytes === 0) return { source: undefined, bytes: end }
  if (length < addressBytes * 2 + 4) return { problem: 'the addresses of the PROXY header are cut off' }
  const host = bytes.subarray(HEAD_BYTES, HEAD_BYTES + addressBytes)
  const tlvs = listTlvs(bytes.subarray(HEAD_BYTES + addressBytes * 2 + 4, end))
  const tls = tlvs && findTlv(tlvs, TLV.tls)
  if (!tlvs || tls === 'twice') return { problem: 'the TLVs of the PROXY header are malformed' }
  const ports = HEAD_BYTES + addressBytes * 2
  const source = { host: textOf(host), port: bytes.readUInt16BE(ports) }
  const destination = {
    host: textOf(bytes.subarray(HEAD_BYTES + addressBytes, ports)),
    port: bytes.readUInt16BE(ports + 2),
  }
  const proxied = tls && readTls(tls)
  return { source, destination, bytes: end, ...(proxied && { tls: proxied }), ...(tlvs.length > 0 && { tlvs }) }
}

/** A certificate was shown on this connection, or on one of the same TLS session. */
const CLIENT_CERTIFICATE = CLIENT.certificateOnConnection | CLIENT.certificateInSession
const TLS_HEAD_BYTES = 5

/** @returns undefined when a length leads out of them */
function listTlvs(bytes: Buffer): readonly Tlv[] | undefined {
  const tlvs: Tlv[] = []
  for (let at = 0; at < bytes.length;) {
    if (at + 3 > bytes.length) return undefined
    const [type, from] = [bytes[at]!, at + 3]
    at = from + bytes.readUInt16BE(at + 1)
    if (at > bytes.length) return undefined
    tlvs.push({ type, value: bytes.subarray(from, at) })
  }
  return tlvs
}
function findTlv(tlvs: readonly Tlv[], type: number): Buffer | 'twice' | undefined {
  const [first, second] = tlvs.filter((one) => one.type === type)
  return second ? 'twice' : first && Buffer.from(first.value.buffer, first.value.byteOffset, first.value.length)
}

/** What the listener keeps of a header, copied: the chunk that it came in is not to stay. */
export function keepTlvs(
  tlvs: readonly Tlv[],
  { keeps, rules = [] }: Pick<ProxyProtocol, 'keeps' | 'rules'>,
): Pick<Connection, 'tlvs' | 'metadata'> {
  const kept = keeps ? tlvs.filter(({ type }) => keeps === 'all' || keeps.has(type)) : []
  const metadata: { [filter: string]: { [key: string]: string } } = {}
  for (const { type, filter, key } of rules)
    for (const tlv of tlvs) if (tlv.type === type) (metadata[filter] ??= {})[key] = new TextDecoder().decode(tlv.value)
  return {
    ...(kept.length > 0 && { tlvs: kept.map(({ type, value }) => ({ type, value: Buffer.from(value) })) }),
    ...(rules.length > 0 && { metadata }),
  }
}
function readTls(value: Buffer): ProxiedTls | undefined {
  if (value.length < TLS_HEAD_BYTES || (value[0]! & CLIENT.tls) === 0) return undefined
  const isVerified = (value[0]! & CLIENT_CERTIFICATE) !== 0 && value.readUInt32BE(1) === 0
  const name = isVerified ? findTlv(listTlvs(value.subarray(TLS_HEAD_BYTES)) ?? [], TLV.commonName) : undefined
  return { commonName: name === undefined || name === 'twice' ? undefined : decodeUtf8(name) }
}
function decodeUtf8(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}

function textOf(address: Buffer): string {
  if (address.length === 4) return address.join('.')
  // An IPv4 address in IPv6 is the IPv4 address, however it is written.
  if (address.subarray(0, 12).equals(V4_IN_V6)) return address.subarray(12).join('.')
  const groups = Array.from({ length: 8 }, (_, i) => address.readUInt16BE(i * 2).toString(16)).join(':')
  return new URL(`http://[${groups}]`).hostname.slice(1, -1)
}

export type ProxyHeaderOptions = Partial<Rules> & {
  readonly clock: Clock
  readonly timeoutMs: number
  /** Where a header is optional; default: `close`. */
  readonly onTimeout?: 'continue' | 'close'
  readonly draining: Abortable
  readonly hold?: CountFirstBytes
}

/**
 * Takes the header off the stream; what follows is there again. `ended`: the client closed without a byte, or the agent
 * drains and it has sent none.
 * @throws MESH_PROXY_HEADER, MESH_SNIFF_TIMEOUT, MESH_CLIENT_GONE
 */
export function takeProxyHeader(stream: Duplex, o: ProxyHeaderOptions): Promise<ProxyHeader | 'ended'> {
  return new Promise((resolve, reject) => {
    let seen: Buffer = NO_BYTES
    let hold: Hold | undefined
    const finish = (): void => {
      timer.cancel()
      hold?.set(0)
      o.draining.removeEventListener('abort', onDraining)
      stream.removeListener('readable', onReadable).removeListener('end', onEnd).removeListener('close', onEnd)
    }
    const fail = (error: MeshError): void => {
      finish()
      reject(error)
    }
    const settle = (header: ProxyHeader | 'ended'): void => {
      finish()
      const rest = header === 'ended' ? NO_BYTES : seen.subarray(header.bytes)
      if (rest.length > 0) stream.unshift(rest)
      resolve(header)
    }
    const onReadable = guard('network', fail, () => {
      for (let chunk = stream.read() as Buffer | null; chunk; chunk = stream.read() as Buffer | null)
        seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk])
      if (seen.length === 0) return
      const header = parseProxyHeader(seen, { ...ANY_HEADER, ...o })
      if (header === 'more') {
        hold ??= o.hold?.(fail)
        hold?.set(seen.length)
        return
      }
      if ('problem' in header) fail(new MeshError('MESH_PROXY_HEADER', header.problem))
      else settle(header)
    })
    const onEnd = guard('network', fail, () => {
      if (seen.length === 0) settle('ended')
      else fail(new MeshError('MESH_CLIENT_GONE', 'the connection ended in the middle of its PROXY header'))
    })
    const onDraining = guard('network', fail, () => {
      if (seen.length === 0) settle('ended')
    })
    const timer = o.clock.after(o.timeoutMs, () => {
      // What is half there may still be one: it is never taken for the client's own words.
      if (o.isOptional && o.onTimeout === 'continue' && seen.length === 0) settle(NO_HEADER)
      else fail(new MeshError('MESH_SNIFF_TIMEOUT', `no PROXY header within ${o.timeoutMs} ms`))
    })
    stream.on('readable', onReadable).once('end', onEnd).once('close', onEnd)
    o.draining.addEventListener('abort', onDraining)
    onReadable()
    if (o.draining.aborted) onDraining()
  })
}
