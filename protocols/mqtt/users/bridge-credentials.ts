/** What an upstream broker is told of us. */
import { MeshError } from '../../../core/errors.ts'
import type { MqttBridge } from '../../../model/mqtt/bridge.ts'

export type BridgeCredentials = { readonly username: string | undefined; readonly password: Uint8Array | undefined }
/** For the next connection. Throws why they cannot be had. */
export type ReadCredentials = (bridge: Pick<MqttBridge, 'credentials'>) => BridgeCredentials
export type CredentialSources = {
  /** Throws an Error that says why the file cannot be used. */
  readonly read: (file: string) => Buffer
  /** The token of this node; undefined: it has none. */
  readonly token: () => string | undefined
  readonly node: string
}

export const NO_CREDENTIALS: BridgeCredentials = { username: undefined, password: undefined }
/** [MQTT-1.5.6] */
const MAX_PASSWORD_BYTES = 65_535

/** @throws MESH_MQTT_CREDENTIALS */
export function readBridgeCredentials(settings: MqttBridge['credentials'], from: CredentialSources): BridgeCredentials {
  if (!settings) return NO_CREDENTIALS
  const { username = from.node, passwordFile, jwt } = settings
  if (passwordFile !== undefined) return { username, password: readPassword(passwordFile, from.read) }
  if (jwt === undefined) return { username, password: undefined }
  const token = from.token()
  if (token === undefined) throw problem('jwt: this node has no token (control.token)')
  return { username, password: Buffer.from(token) }
}

/** Without the line's end that an editor or `echo` leaves. */
function readPassword(file: string, read: CredentialSources['read']): Uint8Array {
  let content: Buffer
  try {
    content = read(file)
  } catch (cause) {
    throw problem(`${file}: ${cause instanceof Error ? cause.message : String(cause)}`, cause)
  }
  const end = content.at(-1) === 0x0a ? (content.at(-2) === 0x0d ? -2 : -1) : content.length
  const password = content.subarray(0, end)
  if (password.length === 0) throw problem(`${file} is empty`)
  if (password.length > MAX_PASSWORD_BYTES) throw problem(`${file} is larger than ${MAX_PASSWORD_BYTES} bytes`)
  return password
}

function problem(text: string, cause?: unknown): MeshError {
  return new MeshError('MESH_MQTT_CREDENTIALS', `mqtt.bridges credentials: ${text}`, { cause })
}
