/** How a bridge gets to its broker, as its settings say. */
import { encodeProxyHeader } from '../../../proxy-header.ts'
import type { Duplex } from 'node:stream'
import type { Clock } from '../../../../core/os/clock.ts'
import { MeshError } from '../../../../core/errors.ts'
import { originatePsk } from '../../../tls/psk.ts'
import type { ConnectOptions, UpstreamStream } from '../../../upstream-api.ts'
import type { SessionPlan } from '../plan.ts'
import { findProxy, type ProxySources } from './http-proxy.ts'

/** @throws as findProxy */
export function describeWay(
  plan: Pick<SessionPlan, 'settings'>,
  sources: ProxySources,
): Pick<ConnectOptions, 'speaks' | 'through' | 'makeHeader'> {
  const { sendProxyProtocol } = plan.settings
  return {
    speaks: 'tcp',
    through: findProxy(plan, sources),
    makeHeader:
      sendProxyProtocol &&
      (({ local, remote }) => encodeProxyHeader(sendProxyProtocol, { source: local, destination: remote })),
  }
}

const HANDSHAKE_MS = 10_000
type Plan = Pick<SessionPlan, 'settings'>
type Opening = { readonly clock: Clock; readonly signal: AbortSignal; readonly maxPacketBytes: number }

/**
 * What MQTT is spoken on: inside TLS with a pre-shared key, and in the frames of a WebSocket, where the settings say so.
 * @throws MESH_MQTT_CREDENTIALS, and as originatePsk and openWebSocket; the stream is destroyed then
 */
export async function openStream(
  { stream, endpoint }: UpstreamStream,
  { settings: { psk, websocket } }: Plan,
  { readFile }: Pick<ProxySources, 'readFile'>,
  { clock, signal, maxPacketBytes }: Opening,
): Promise<Duplex> {
  let secured = stream
  if (psk) {
    let key: Uint8Array
    try {
      key = readKey(psk.keyFile, readFile)
    } catch (thrown) {
      stream.destroy()
      throw thrown
    }
    secured = await originatePsk(stream, { identity: psk.identity, key }, { clock, signal, timeoutMs: HANDSHAKE_MS })
  }
  if (!websocket) return secured
  // Loaded when somebody needs it.
  const { openWebSocket } = await import('./websocket.ts')
  const name = endpoint.hostname ?? endpoint.address
  const host = websocket.host ?? `${name.includes(':') ? `[${name}]` : name}:${endpoint.port}`
  return openWebSocket(secured, { host, path: websocket.path, maxPacketBytes, clock, timeoutMs: HANDSHAKE_MS, signal })
}

/** OpenSSL takes no longer one. */
const MAX_KEY_BYTES = 512
function readKey(file: string, readFile: ProxySources['readFile']): Uint8Array {
  const text = readFile?.(file).trim() ?? ''
  if (!/^(?:[0-9A-Fa-f]{2})+$/.test(text) || text.length > MAX_KEY_BYTES * 2)
    throw new MeshError(
      'MESH_MQTT_CREDENTIALS',
      `mqtt.bridges psk: ${file} has no key of 1 to ${MAX_KEY_BYTES} bytes in hexadecimal`,
    )
  return Buffer.from(text, 'hex')
}
