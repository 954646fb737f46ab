/** Resources in Envoy's JSON mapping, as they are compiled. */
import type { JsonObject, JsonValue } from '@bufbuild/protobuf'

export type Json = JsonObject

/** Without what is undefined. */
export function compact(fields: Readonly<Record<string, JsonValue | undefined>>): Json {
  return Object.fromEntries(Object.entries(fields).filter((e): e is [string, JsonValue] => e[1] !== undefined))
}

/** A google.protobuf.Any. */
export function makeAny(type: string, fields: Readonly<Record<string, JsonValue | undefined>> = {}): Json {
  return { '@type': `type.googleapis.com/${type}`, ...compact(fields) }
}
/** An extension by name. */
export function makeExtension(name: string, config: Json): Json {
  return { name, typed_config: config }
}
export function makeTypedStruct(type: string, value: Json): Json {
  return makeAny('udpa.type.v1.TypedStruct', { type_url: `type.googleapis.com/${type}`, value })
}

export function makeSocketAddress(address: string, port: number): Json {
  return { socket_address: { address, port_value: port } }
}
/** IPv6 in brackets. */
export function joinHostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
export const ADS_SOURCE: Json = { ads: {}, initial_fetch_timeout: '0s', resource_api_version: 'V3' }

/** Of a subset of a service: networking.TrafficDirection|port|subset|host. */
export function nameCluster(host: string, port: number, subset = ''): string {
  return `outbound|${port}|${subset}|${host}`
}
export const nameInbound = (port: number): string => `inbound|${port}||`
