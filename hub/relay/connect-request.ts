/**
 * What `meshlet-hub connect` says to the hub beside it: over a Unix socket, the streams of the relay's own framing, each
 * for one connection, with the request at its head. An empty message of the hub says that the device's port is reached.
 */
import path from 'node:path'
import { MeshError } from '../../core/errors.ts'
import { COMMAND_LIMITS, parseTunnelRequest, type TunnelRequest } from '../../model/fleet/command.ts'

export type ConnectRequest = TunnelRequest & {
  readonly device: string
  /** Whose connection it is, e.g. 127.0.0.1:50123, or stdio. */
  readonly address: string
}

/** Of sun_path, without the zero at its end. */
const MAX_PATH_BYTES = 107
const MAX_NAME_CHARS = 253
const MAX_ADDRESS_CHARS = 64

/** Throws MESH_CONNECT_NO_HUB: Linux takes no path that is so long. */
export function nameConnectSocket(state: string): string {
  const file = path.resolve(state, 'connect.sock')
  if (Buffer.byteLength(file) > MAX_PATH_BYTES)
    throw new MeshError(
      'MESH_CONNECT_NO_HUB',
      `the socket for meshlet-hub connect would be ${file}, and a socket's path has ${MAX_PATH_BYTES} bytes at most: \`state\` of hub.yaml must be shorter`,
    )
  return file
}

/** Throws MESH_CONTROL_PROTOCOL. */
export function parseConnectRequest(head: Uint8Array): ConnectRequest {
  const text = Buffer.from(head).toString('utf8')
  const request = head.length <= COMMAND_LIMITS.requestBytes ? parseTunnelRequest(text) : undefined
  if (request) {
    const { device, address } = JSON.parse(text) as Record<string, unknown>
    if (isText(device, MAX_NAME_CHARS) && isText(address, MAX_ADDRESS_CHARS)) return { ...request, device, address }
  }
  throw new MeshError('MESH_CONTROL_PROTOCOL', 'that is no request for a connection to a device')
}
const isText = (value: unknown, mostChars: number): value is string =>
  typeof value === 'string' && value !== '' && value.length <= mostChars
