/**
 * The two large ADS messages, read and written by hand: a stream that comes back brings every resource and names every
 * version, and messages of protobuf-es for each of them cost as much as all the rest
 * (envoy/service/discovery/v3/discovery.proto).
 */
import type { AdsRequest } from './protocol.ts'
import { readNextField, type Cursor } from '../wire/fields.ts'

export type DeltaResponse = {
  readonly typeUrl: string
  readonly nonce: string
  readonly systemVersionInfo: string
  readonly removedResources: readonly string[]
  readonly bytes: Buffer
  /** `value`: of the Any, a view of the message; empty where there is none (istiod's empty name table). */
  readonly resources: readonly { readonly name: string; readonly version: string; readonly value: Uint8Array }[]
}

const RESPONSE = { systemVersionInfo: 1, resources: 2, typeUrl: 4, nonce: 5, removedResources: 6 } as const
const RESOURCE = { version: 1, resource: 2, name: 3 } as const
const ANY_VALUE = 2
const NO_BYTES = new Uint8Array(0)

/** A DeltaDiscoveryResponse. @throws when the bytes are no protobuf; gRPC then ends the call with INTERNAL */
export function readDeltaResponse(bytes: Buffer): DeltaResponse {
  const response = {
    bytes,
    typeUrl: '',
    nonce: '',
    systemVersionInfo: '',
    removedResources: [] as string[],
    resources: [] as Resource[],
  }
  const cursor: Cursor = { at: 0, from: 0, to: 0 }
  let version = ''
  while (cursor.at < bytes.length) {
    const no = textField(bytes, cursor, bytes.length)
    const { from, to } = cursor
    switch (no) {
      case RESPONSE.systemVersionInfo:
        response.systemVersionInfo = bytes.toString('utf8', from, to)
        break
      case RESPONSE.typeUrl:
        response.typeUrl = bytes.toString('utf8', from, to)
        break
      case RESPONSE.nonce:
        response.nonce = bytes.toString('utf8', from, to)
        break
      case RESPONSE.removedResources:
        response.removedResources.push(bytes.toString('utf8', from, to))
        break
      case RESPONSE.resources: {
        const resource = readResource(bytes, from, to, version)
        version = resource.version
        response.resources.push(resource)
        break
      }
      default:
    }
  }
  return response
}

type Resource = { name: string; version: string; value: Uint8Array }
/** Used again and again: a push has thousands of resources. */
const inResource: Cursor = { at: 0, from: 0, to: 0 }
const inAny: Cursor = { at: 0, from: 0, to: 0 }

/** @param version of the resource before: istiod writes one for all */
function readResource(bytes: Buffer, from: number, end: number, version: string): Resource {
  const resource: Resource = { name: '', version: '', value: NO_BYTES }
  inResource.at = from
  while (inResource.at < end) {
    switch (textField(bytes, inResource, end)) {
      case RESOURCE.name:
        resource.name = bytes.toString('utf8', inResource.from, inResource.to)
        break
      case RESOURCE.version:
        resource.version = isText(version, bytes, inResource.from, inResource.to)
          ? version
          : bytes.toString('utf8', inResource.from, inResource.to)
        break
      case RESOURCE.resource:
        resource.value = valueOf(bytes, inResource.from, inResource.to)
        break
      default:
    }
  }
  return resource
}

function isText(ascii: string, bytes: Uint8Array, from: number, to: number): boolean {
  if (to - from !== ascii.length) return false
  for (let i = 0; i < ascii.length; i++) if (bytes[from + i] !== ascii.charCodeAt(i)) return false
  return true
}

function valueOf(bytes: Buffer, from: number, end: number): Uint8Array {
  let value: Uint8Array = NO_BYTES
  inAny.at = from
  // A Buffer takes four times as long to make.
  while (inAny.at < end)
    if (textField(bytes, inAny, end) === ANY_VALUE)
      value = new Uint8Array(bytes.buffer, bytes.byteOffset + inAny.from, inAny.to - inAny.from)
  return value
}

/** @returns the number of a field that is length-delimited, which all of these are; 0 for another */
function textField(bytes: Uint8Array, cursor: Cursor, end: number): number {
  const no = readNextField(bytes, cursor, end)
  if (no === 0) throw new Error(`a configuration message is broken at byte ${cursor.at}`)
  return cursor.to < 0 ? 0 : no
}

/**
 * What makes a DeltaDiscoveryRequest large: resource_names_subscribe = 3, a list of strings, and
 * initial_resource_versions = 5, a map of strings. Behind the bytes of a message without them it is the message with
 * them.
 */
export function readNamesAndVersions({ subscribe, known }: Pick<AdsRequest, 'subscribe' | 'known'>): Uint8Array {
  let length = 0
  for (const name of subscribe) length += MAX_OVERHEAD + MAX_BYTES_OF_CHAR * name.length
  known.forEach(({ version }, name) => {
    length += MAX_OVERHEAD + MAX_BYTES_OF_CHAR * (name.length + version.length)
  })
  const bytes = Buffer.allocUnsafe(length)
  let at = 0
  for (const name of subscribe) at = writeString(bytes, at, 3, name)
  // A loop over a map would make two objects for each.
  known.forEach(({ version }, name) => {
    // What stands before a text or an entry is only known behind it; most are shorter than 128 bytes, others move.
    const entry = at
    at = writeString(bytes, at + 2, 1, name)
    at = writeString(bytes, at, 2, version)
    at = putLength(bytes, entry, 5, at)
  })
  return bytes.subarray(0, at)
}
const MAX_BYTES_OF_CHAR = 3
/** Three times a tag and a length of at most four bytes. */
const MAX_OVERHEAD = 15

function writeString(bytes: Buffer, at: number, field: number, text: string): number {
  return putLength(bytes, at, field, at + 2 + bytes.write(text, at + 2))
}

/** Before the content, which begins two bytes behind `at`. @returns where it ends now */
function putLength(bytes: Buffer, at: number, field: number, end: number): number {
  const from = at + 2
  let length = end - from
  const more = lengthBytes(length) - 1
  if (more > 0) bytes.copyWithin(from + more, from, end)
  bytes[at++] = (field << 3) | LENGTH_DELIMITED
  for (; length > 0x7f; length >>>= 7) bytes[at++] = (length & 0x7f) | 0x80
  bytes[at] = length
  return end + more
}
const LENGTH_DELIMITED = 2
function lengthBytes(length: number): number {
  return length < 0x80 ? 1 : length < 0x4000 ? 2 : length < 0x20_0000 ? 3 : 4
}
