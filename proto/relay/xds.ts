/**
 * Delta xDS as it travels over the relay. A message begins with one of TAG:
 *
 * | tag      | from  | then                                                                                    |
 * | -------- | ----- | --------------------------------------------------------------------------------------- |
 * | request  | agent | type, DeltaDiscoveryRequest without its type                                            |
 * | resume   | agent | type, digest of what is wanted and there (digest.ts), the same without names            |
 * | response | hub   | type, nonce, system version, removed names, resources                                   |
 * | tell     | hub   | type: no set of that digest is known, the request has to come whole                     |
 *
 * A resource is name, version, the version that it was packed against ('': none) and its bytes, or what makes them of
 * that version's. Numbers are varints; texts and bytes have their length before them. A type is its number in TYPES, or
 * 0 and its URL.
 */
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { MeshError } from '../../core/errors.ts'
import {
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryRequest,
} from '../gen/envoy/service/discovery/v3/discovery_pb.ts'
import { DIGEST_BYTES } from './digest.ts'
import { Reader, Writer } from '../../core/relay/text.ts'

const TAG = { request: 1, resume: 2, response: 3, tell: 4 } as const
/** First byte of the head of a configuration stream. `whole`: the agent lacks what differences were made against. */
export const STREAM_FLAGS = { whole: 1 } as const
/** From 1 on. Numbers stand on the wire and are never given anew. */
const TYPES = [
  'type.googleapis.com/envoy.config.cluster.v3.Cluster',
  'type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment',
  'type.googleapis.com/envoy.config.listener.v3.Listener',
  'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
  'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret',
  'type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig',
  'type.googleapis.com/istio.networking.nds.v1.NameTable',
  'type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig',
  'type.googleapis.com/istio.v1.HealthInformation',
]
/** Empty lists take no room, but objects. */
const MAX_ENTRIES = 1_000_000

/** `digest`: in place of names and versions. */
export type RelayRequest = { readonly message: DeltaDiscoveryRequest; readonly digest: Buffer | undefined }
export type RelayResource = {
  readonly name: string
  readonly version: string
  /** '' : `bytes` are the value itself; else what core/relay/compression.ts makes it of, with that version's value. */
  readonly base: string
  readonly bytes: Uint8Array
}
export type RelayResponse = {
  readonly typeUrl: string
  readonly nonce: string
  readonly systemVersion: string
  readonly removed: readonly string[]
  readonly resources: readonly RelayResource[]
}
export type RelayAnswer = { readonly tell: string } | { readonly response: RelayResponse }

/** @param more fields that stand behind those of `message`, on the wire */
export function encodeRequest({ message, digest }: RelayRequest, more: Uint8Array = new Uint8Array(0)): Buffer {
  const writer = new Writer().number(digest ? TAG.resume : TAG.request)
  writeType(writer, message.typeUrl)
  if (digest) writer.raw(digest)
  return writer
    .raw(encodeMessage({ ...message, typeUrl: '' }))
    .raw(more)
    .finish()
}
/** Throws MESH_CONTROL_PROTOCOL. */
export function decodeRequest(bytes: Uint8Array): RelayRequest {
  const reader = new Reader(bytes)
  const tag = reader.take(1)[0]
  if (tag !== TAG.request && tag !== TAG.resume) throw unknown(tag)
  const typeUrl = readType(reader)
  const digest = tag === TAG.resume ? reader.take(DIGEST_BYTES) : undefined
  try {
    return { message: Object.assign(fromBinary(DeltaDiscoveryRequestSchema, reader.rest()), { typeUrl }), digest }
  } catch (cause) {
    throw new MeshError('MESH_CONTROL_PROTOCOL', 'a request on the relay is no DeltaDiscoveryRequest', { cause })
  }
}
export function encodeMessage(message: DeltaDiscoveryRequest): Uint8Array {
  return toBinary(DeltaDiscoveryRequestSchema, message)
}

export function encodeTell(typeUrl: string): Buffer {
  const writer = new Writer().number(TAG.tell)
  writeType(writer, typeUrl)
  return writer.finish()
}
export function encodeResponse({ typeUrl, nonce, systemVersion, removed, resources }: RelayResponse): Buffer {
  const writer = new Writer().number(TAG.response)
  writeType(writer, typeUrl)
  writer.text(nonce).text(systemVersion).number(removed.length)
  for (const name of removed) writer.text(name)
  writer.number(resources.length)
  for (const { name, version, base, bytes } of resources) writer.text(name).text(version).text(base).bytes(bytes)
  return writer.finish()
}
/** Throws MESH_CONTROL_PROTOCOL. */
export function decodeAnswer(bytes: Uint8Array): RelayAnswer {
  const reader = new Reader(bytes)
  const tag = reader.number()
  if (tag === TAG.tell) return { tell: readType(reader) }
  if (tag !== TAG.response) throw unknown(tag)
  const [typeUrl, nonce, systemVersion] = [readType(reader), reader.text(), reader.text()]
  const removed = readList(reader, () => reader.text())
  const resources = readList(reader, () => ({
    name: reader.text(),
    version: reader.text(),
    base: reader.text(),
    bytes: reader.bytes(),
  }))
  return { response: { typeUrl, nonce, systemVersion, removed, resources } }
}

function writeType(writer: Writer, typeUrl: string): void {
  const number = TYPES.indexOf(typeUrl) + 1
  writer.number(number)
  if (number === 0) writer.text(typeUrl)
}
function readType(reader: Reader): string {
  const number = reader.number()
  const typeUrl = number === 0 ? reader.text() : TYPES[number - 1]
  if (typeUrl === undefined)
    throw new MeshError('MESH_CONTROL_PROTOCOL', `a message of the relay is of type ${number}, which is nothing known`)
  return typeUrl
}

function readList<T>(reader: Reader, one: () => T): T[] {
  const length = reader.number()
  if (length > MAX_ENTRIES) throw new MeshError('MESH_CONTROL_PROTOCOL', `a list on the relay has ${length} entries`)
  const list: T[] = []
  for (let i = 0; i < length; i++) list.push(one())
  return list
}

function unknown(tag: number | undefined): MeshError {
  return new MeshError('MESH_CONTROL_PROTOCOL', `a message of the relay begins with ${tag}, which is nothing known`)
}
