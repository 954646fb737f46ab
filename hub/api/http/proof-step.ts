/** Who asks, as a step before each route of devices: the key that has signed the request, for this connection. */
import type { FastifyRequest } from 'fastify'
import type { TLSSocket } from 'node:tls'
import type * as z from 'zod'
import { MeshError } from '../../../core/errors.ts'
import { CHANNEL_BINDING } from '../../../model/fleet/enrollment.ts'
import type { Asker } from '../../enrollment/admission.ts'
import { verifyProof } from '../../enrollment/proof.ts'
import { toPlainAddress } from '../source-address.ts'

/** As it came over a connection. */
export type ShownProof = {
  /** Compact. */
  readonly jws: string
  readonly path: string
  readonly socket: TLSSocket
}

/** Throws MESH_DEVICE_PROOF, MESH_MALFORMED_INPUT. */
export function readProof<S extends z.ZodType>(
  { jws, path, socket }: ShownProof,
  claims: S,
): { readonly asker: Asker; readonly claims: z.output<S> } {
  const proof = verifyProof(jws, { path, binding: readBinding(socket) })
  const read = claims.safeParse(proof.claims)
  if (!read.success) throw new MeshError('MESH_MALFORMED_INPUT', describeIssues(read.error))
  return { asker: { keyId: proof.keyId, address: toPlainAddress(socket.remoteAddress ?? '') }, claims: read.data }
}

export function readRequest({ body, url, raw }: FastifyRequest): ShownProof {
  return { jws: String(body), path: url, socket: raw.socket as TLSSocket }
}
/** Of the connection (RFC 9266). */
export function readBinding(socket: TLSSocket): Buffer {
  return socket.exportKeyingMaterial(CHANNEL_BINDING.bytes, CHANNEL_BINDING.label, Buffer.alloc(0))
}

const MAX_ISSUES = 5
/** Places and rules; never what was sent, which may be a token. */
function describeIssues({ issues }: z.ZodError): string {
  return issues
    .slice(0, MAX_ISSUES)
    .map(({ path, message }) => `${path.join('.') || 'the claims'}: ${message}`)
    .join('; ')
}
