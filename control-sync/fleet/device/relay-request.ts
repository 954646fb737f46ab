/** Requests by the device's key over the relay connection, in place of HTTPS: one connection for everything. */
import { MeshError, toMeshError } from '../../../core/errors.ts'
import type { Clock } from '../../../core/os/clock.ts'
import { unpackMessage } from '../../../core/relay/compression.ts'
import { MAX_ANSWER_BYTES } from '../../../model/fleet/enrollment.ts'
import type { ControlPlane } from '../../connection/control-plane.ts'
import { askOnce } from '../ask-once.ts'
import type { RelayLink } from '../relay-link.ts'
import type { AskHub } from './device-authority.ts'

/** What the hub, or the way to it, may say of us; any other code would mean something else here. */
const OF_DEVICE = /^MESH_(?:DEVICE_|TOKEN_INVALID|CONTROL_|NO_IDENTITY|DRAINING|MALFORMED_INPUT)/

export function createRelayAsk(link: RelayLink, control: Pick<ControlPlane, 'bytes'>, clock: Clock): AskHub {
  return async (path, claims) => {
    const { mux, prove } = await link.connect({ certificateRefused: false })
    const host = link.address
    try {
      const message = Buffer.from(await prove(path, claims))
      const answer = await askOnce({ mux, kind: 'request', message, address: host, clock, bytes: control.bytes })
      return { body: parse(answer, host), host }
    } catch (thrown) {
      const { code, message } = toMeshError(thrown)
      if (OF_DEVICE.test(code)) throw thrown
      throw new MeshError('MESH_CONTROL_PROTOCOL', `${host} answers ${code}: ${message}`)
    } finally {
      link.closeIfUnusedSoon()
    }
  }
}

function parse(answer: Uint8Array, host: string): unknown {
  const text = Buffer.from(unpackMessage(answer, MAX_ANSWER_BYTES)).toString('utf8')
  try {
    return JSON.parse(text)
  } catch {
    throw new MeshError('MESH_CONTROL_PROTOCOL', `${host} answers with something that is no JSON`)
  }
}
