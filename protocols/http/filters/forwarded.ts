/**
 * What the HTTP connection manager does to request headers before filters and routes see them: where the client is, how
 * it came, who it proved to be, and the request's id. In place, over flat arrays.
 */
import net from 'node:net'
import type { Random } from '../../../core/os/clock.ts'
import type { HttpConnectionManager } from '../../../model/listener.ts'
import type { RequestHead } from '../message.ts'
import { isExchangeHeader, PEER_METADATA } from '../../telemetry/exchange-headers.ts'
import { isTaken, removeHeader } from '../codec/field-table.ts'
import { addVia, setHeader } from './header-edit.ts'
import { applyXfcc } from './xfcc.ts'

export type ClientAddress = {
  readonly directIp: string
  readonly scheme: 'http' | 'https'
  readonly xfccElement: string | undefined
}

/** @returns the client's address as trusted hops tell it (Envoy's downstream remote address) */
export function prepareRequestHeaders(
  request: RequestHead,
  http: HttpConnectionManager,
  client: ClientAddress,
  random: Random,
): string {
  const { headers } = request
  const { useRemoteAddress: edge } = http
  let forwardedFor: string | undefined
  let hasXfcc = false
  let hasId = false
  let hasProto = false
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!
    switch (name) {
      case 'x-forwarded-for':
        forwardedFor = forwardedFor === undefined ? headers[i + 1]! : `${forwardedFor},${headers[i + 1]!}`
        break
      case 'x-forwarded-client-cert':
        hasXfcc = true
        break
      case 'x-request-id':
        hasId = headers[i + 1] !== ''
        break
      case 'x-forwarded-proto':
        hasProto = true
        break
      case 'proxy-authorization':
        if (http.explicitProxy) {
          headers.splice(i, 2)
          i -= 2
        }
        break
      default: {
        const first = name.charCodeAt(0)
        if ((first === LETTER_X || first === LETTER_F) && !mayGoOn(name, headers[i + 1]!, request, http)) {
          headers.splice(i, 2)
          i -= 2
        }
      }
    }
  }
  if (http.via !== undefined) addVia(headers, http.via)
  const remoteIp = trustedAddress(forwardedFor, http, client.directIp)
  if (edge) tellEdge(request, http, client, { forwardedFor, hasProto, remoteIp })
  else if (!hasProto) headers.push('x-forwarded-proto', client.scheme)
  if (hasXfcc || client.xfccElement !== undefined) applyXfcc(headers, http.forwardClientCert, client.xfccElement)
  // A stranger does not choose the id under which his requests are looked for.
  if (http.requestId !== 'none' && (!hasId || (edge && http.requestId !== 'keep-external')))
    setHeader(headers, 'x-request-id', createUuid(random))
  return remoteIp
}

/** At the edge: how the client came, in place of what it says itself. */
function tellEdge(
  { headers }: RequestHead,
  http: HttpConnectionManager,
  client: ClientAddress,
  {
    forwardedFor,
    hasProto,
    remoteIp,
  }: { readonly forwardedFor: string | undefined; readonly hasProto: boolean; readonly remoteIp: string },
): void {
  const value =
    forwardedFor === undefined || forwardedFor === '' ? client.directIp : `${forwardedFor},${client.directIp}`
  if (!http.skipXffAppend && forwardedFor === undefined) headers.push('x-forwarded-for', value)
  else if (!http.skipXffAppend) setHeader(headers, 'x-forwarded-for', value)
  // A trusted hop in front knows how the client came; nobody else is believed.
  if (hasProto && http.xffTrustedHops === 0) removeHeader(headers, 'x-forwarded-proto')
  if (!hasProto || http.xffTrustedHops === 0) headers.push('x-forwarded-proto', client.scheme)
  // Envoy: where the request comes into the network that trusts its proxies.
  headers.push('x-envoy-external-address', remoteIp)
}

/** What proxies tell each other of themselves is kept aside, where the client is no stranger. */
function mayGoOn(name: string, value: string, request: RequestHead, http: HttpConnectionManager): boolean {
  if (!isExchangeHeader(name)) return isTaken(name, http.useRemoteAddress, http.xffTrustedHops)
  if (http.useRemoteAddress && http.xffTrustedHops === 0) return false
  if (name === PEER_METADATA) request.peerMetadata = value
  else request.peerId = value
  return false
}

/**
 * Envoy's rule: an edge proxy (use_remote_address) trusts the peer unless `xffTrustedHops` proxies stand before it; one
 * behind others takes the last address of the list, or so many further to the left.
 */
function trustedAddress(forwardedFor: string | undefined, http: HttpConnectionManager, directIp: string): string {
  if (forwardedFor === undefined || (http.useRemoteAddress && http.xffTrustedHops === 0)) return directIp
  const hops = http.useRemoteAddress ? http.xffTrustedHops : http.xffTrustedHops + 1
  const address = forwardedFor.split(',').at(-hops)?.trim() ?? ''
  return net.isIP(address) === 0 ? directIp : address
}

const LETTER_X = 120
const LETTER_F = 102
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** UUID version 4 (RFC 9562 §5.4). For tracing, not a secret. */
export function createUuid(random: Random): string {
  const a = word(random)
  const b = word(random)
  const c = word(random)
  const d = word(random)
  return `${hex32(a)}-${hex16(b >>> 16)}-${hex16((b & 0x0fff) | 0x4000)}-${hex16(((c >>> 16) & 0x3fff) | 0x8000)}-${hex16(c & 0xffff)}${hex32(d)}`
}
function word(random: Random): number {
  return Math.floor(random.float() * 0x1_0000_0000)
}
function hex16(n: number): string {
  return HEX[(n >>> 8) & 0xff]! + HEX[n & 0xff]!
}
function hex32(n: number): string {
  return hex16(n >>> 16) + hex16(n & 0xffff)
}
