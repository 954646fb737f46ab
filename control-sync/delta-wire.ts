/**
 * The two large ADS messages, read and written by hand: a stream that comes back brings every resource and names every version, and messages of
 * protobuf-es for each of them cost as much as all the rest (envoy/service/discovery/v3/discovery.proto).
 */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { nextField, type Cursor } from './wire.ts'

export type DeltaResponse = {
  readonly typeUrl: string
  readonly nonce: string
  readonly systemVersionInfo: string
  readonly removedResources: readonly string[]
  /** `value`: of the Any, a view of the message; empty where there is none (istiod's empty name table). */
  readonly resources: readonly { readonly name: string; readonly version: string; readonly value: Uint8Array }[]
}

const RESPONSE = { systemVersionInfo: 1, resources: 2, typeUrl: 4, nonce: 5, removedResources: 6 } as const
const RESOURCE = { version: 1, resource: 2, name: 3 } as const
const ANY_VALUE = 2
const NO_BYTES = new Uint8Array(0)

/** A DeltaDiscoveryResponse. @throws when the bytes are no protobuf; gRPC then ends the call with INTERNAL */
export function readDeltaResponse(bytes: Buffer): DeltaResponse {
  const response = { typeUrl: '', nonce: '', systemVersionInfo: '', removedResources: [] as string[], resources: [] as DeltaResponse['resources'][number][] }
  let version = ''
  walk(bytes, 0, bytes.length, (no, from, to) => {
    switch (no) {
      case RESPONSE.systemVersionInfo: response.systemVersionInfo = bytes.toString('utf8', from, to); break
      case RESPONSE.typeUrl: response.typeUrl = bytes.toString('utf8', from, to); break
      case RESPONSE.nonce: response.nonce = bytes.toString('utf8', from, to); break
      case RESPONSE.removedResources: response.removedResources.push(bytes.toString('utf8', from, to)); break
      case RESPONSE.resources: {
        const resource = readResource(bytes, from, to)
        // istiod writes one version for all: one string is enough.
        if (resource.version === version) resource.version = version
        else version = resource.version
        response.resources.push(resource)
        break
      }
      default:
    }
  })
  return response
}

function readResource(bytes: Buffer, start: number, end: number): { name: string; version: string; value: Uint8Array } {
  const resource = { name: '', version: '', value: NO_BYTES as Uint8Array }
  walk(bytes, start, end, (no, from, to) => {
    if (no === RESOURCE.name) resource.name = bytes.toString('utf8', from, to)
    else if (no === RESOURCE.version) resource.version = bytes.toString('utf8', from, to)
    else if (no === RESOURCE.resource) walk(bytes, from, to, (inner, a, b) => { if (inner === ANY_VALUE) resource.value = bytes.subarray(a, b) })
  })
  return resource
}

/** Calls with what is length-delimited. */
function walk(bytes: Uint8Array, start: number, end: number, on: (no: number, from: number, to: number) => void): void {
  const cursor: Cursor = { at: start, from: 0, to: 0 }
  while (cursor.at < end) {
    const no = nextField(bytes, cursor, end)
    if (no === 0) throw new Error(`a configuration message is broken at byte ${cursor.at}`)
    if (cursor.to >= 0) on(no, cursor.from, cursor.to)
  }
}

/** DeltaDiscoveryRequest.initial_resource_versions = 5, a map of strings: appended to the bytes of a message without them it is the message with them. */
export function knownVersions(known: Readonly<Record<string, string>>): Uint8Array {
  const writer = new BinaryWriter()
  for (const [name, version] of Object.entries(known)) {
    writer.tag(5, WireType.LengthDelimited).fork()
      .tag(1, WireType.LengthDelimited).string(name)
      .tag(2, WireType.LengthDelimited).string(version)
      .join()
  }
  return writer.finish()
}
