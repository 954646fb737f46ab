/** What proves the device's key over one TLS connection, and over no other. */
import { encodeJson, type Es256Jwk } from '../../../core/jwt/sign.ts'
import { encodeConnectionProof, SCHEME, type ChainPosition } from '../../../model/fleet/connection-proof.ts'
import { CHANNEL_BINDING, PROOF_TYPE } from '../../../model/fleet/enrollment.ts'
import type { DeviceKey } from './device-key.ts'

/** What node:tls gives, as far as it is needed here. */
type Secured = { exportKeyingMaterial(length: number, label: string, context: Buffer): Buffer }
export type Proving = { readonly path: string; readonly claims: object; readonly key: DeviceKey }

/** One request, as a compact JWS. Rejects as the key's `sign`. */
export async function signRequest(socket: Secured, { path, claims, key }: Proving): Promise<string> {
  const header = encodeJson({ typ: PROOF_TYPE, alg: 'ES256', jwk: key.jwk })
  const payload = encodeJson({ cb: readBinding(socket).toString('base64url'), htu: path, ...claims })
  const signature = await key.sign(Buffer.from(`${header}.${payload}`))
  return `${header}.${payload}.${signature.toString('base64url')}`
}

/** A whole connection: value of its `authorization` header. Rejects as the key's `sign`. */
export async function signConnection(
  socket: Secured,
  { path, position, key }: { readonly path: string; readonly position: ChainPosition; readonly key: DeviceKey },
): Promise<string> {
  const proof = { key: compress(key.jwk), position }
  const { said, signed } = encodeConnectionProof(proof, { binding: readBinding(socket), path })
  return `${SCHEME} ${Buffer.concat([said, await key.sign(signed)]).toString('base64url')}`
}

function readBinding(socket: Secured): Buffer {
  return socket.exportKeyingMaterial(CHANNEL_BINDING.bytes, CHANNEL_BINDING.label, Buffer.alloc(0))
}

/** SEC 1 §2.3.3. */
function compress({ x, y }: Es256Jwk): Buffer {
  const isOdd = (Buffer.from(y, 'base64url').at(-1)! & 1) === 1
  return Buffer.concat([Buffer.of(isOdd ? 3 : 2), Buffer.from(x, 'base64url')])
}
