/** istio.v1.auth.IstioCertificateService: a certificate for a key of ours, signed by the mesh's CA. */
import { create } from '@bufbuild/protobuf'
import type { ServiceError } from '@grpc/grpc-js'
import type * as Grpc from '@grpc/grpc-js'
import type { Clock } from '../../core/os/clock.ts'
import { MeshError } from '../../core/errors.ts'
import type { Identity } from '../../model/identity.ts'
import { toControlError } from '../ads/errors.ts'
import {
  createCallMetadata,
  createChannelCredentials,
  loadGrpc,
  chooseProof,
  reach,
  type ControlPlane,
} from '../connection/control-plane.ts'
import { IstioCertificateRequestSchema, type IstioCertificateResponse } from '../../proto/gen/istio/v1/auth/ca_pb.ts'
import { CA } from '../../proto/services.ts'
import { createCsr, createKey, type KeyKind } from './csr.ts'
import { parseIdentity } from './parse-identity.ts'

export type CertificateWish = {
  readonly current: Identity | undefined
  readonly spiffeUri: string
  /** 0 = the server's default. */
  readonly ttlSec: number
  readonly key: KeyKind
  /** The server does not take the certificate at hand: the token counts. */
  readonly certificateRefused: boolean
}
export type Issued = {
  readonly identity: Identity
  /** MESH_CERTIFICATE_TTL: the life asked for was refused, this one is the server's default. */
  readonly ttlRefused: MeshError | undefined
}
/**
 * Gets one identity; a new key each time. Rejects with a MESH_CONTROL_* code, MESH_CERTIFICATE_REFUSED,
 * MESH_NO_IDENTITY, MESH_TOKEN_INVALID or MESH_IDENTITY_DAMAGED (an answer that is none).
 */
export type CertificateAuthority = (wish: CertificateWish) => Promise<Issued>

const TIMEOUT_MS = 15_000
/** No chain of a mesh is longer. */
export const MAX_CHAIN = 16
/**
 * gRPC status: istiod's and the hub's answer to a life above their maximum, and to a request (CSR) that they do not
 * sign.
 */
const INVALID_ARGUMENT = 3

export function createIstioCertificateAuthority(control: ControlPlane, clock: Clock): CertificateAuthority {
  let turn = 0
  return async ({ current, spiffeUri, ttlSec, key, certificateRefused }) => {
    const grpc = await loadGrpc()
    const address = control.addresses[turn++ % control.addresses.length]!
    // Also reads the token anew.
    const { identity, token, shown } = chooseProof(control, current, { wallMs: clock.wallMs(), certificateRefused })
    const keyPem = await createKey(key)
    const { target, options } = await reach(control, address, Math.floor(turn / control.addresses.length))
    const client = new grpc.Client(target, createChannelCredentials(grpc, control, identity), options)
    const csr = createCsr(keyPem, spiffeUri)
    const ask = (validitySec: number): Promise<IstioCertificateResponse> =>
      createCertificate({
        client,
        clock,
        control,
        csr,
        validitySec,
        metadata: createCallMetadata(grpc, control, token),
      })
    try {
      let ttlRefused: MeshError | undefined
      const response = await ask(ttlSec)
        .catch(async (err: ServiceError) => {
          if (ttlSec === 0 || err.code !== INVALID_ARGUMENT) throw err
          const answer = await ask(0)
          ttlRefused = describeRefusedLife(address, ttlSec, err.details)
          return answer
        })
        .catch((err: ServiceError) => {
          throw refused(err, address) ?? toControlError(err, 'the certificate', address, shown)
        })
      return { identity: readIssued(keyPem, response.certChain, address), ttlRefused }
    } finally {
      client.close()
    }
  }
}

/**
 * The identity of a key, with what the CA answered for it: leaf, intermediates, root last (istiod). Throws
 * MESH_CONTROL_PROTOCOL or MESH_IDENTITY_DAMAGED.
 */
export function readIssued(keyPem: string, chain: readonly string[], address: string): Identity {
  if (chain.length < 2 || chain.length > MAX_CHAIN)
    throw new MeshError(
      'MESH_CONTROL_PROTOCOL',
      `the CA at ${address} answered with ${chain.length} certificates, expected the leaf and a root at least`,
    )
  return parseIdentity({
    keyPem,
    chainPem: chain.slice(0, -1).map(lineEnd).join(''),
    rootsPem: lineEnd(chain.at(-1)!),
  })
}

export function describeRefusedLife(address: string, ttlSec: number, said: string): MeshError {
  return new MeshError(
    'MESH_CERTIFICATE_TTL',
    `${address} does not give a certificate the life of ${ttlSec} s (control.certificateTtlSec): ${said.slice(0, 300)}. Its default is in force`,
  )
}

/** Not about the life that was asked for: the server's default was refused as well. */
function refused({ code, details }: ServiceError, address: string): MeshError | undefined {
  return code === INVALID_ARGUMENT
    ? new MeshError(
        'MESH_CERTIFICATE_REFUSED',
        `the CA at ${address} does not sign our request for a certificate: ${details.slice(0, 300)}`,
      )
    : undefined
}

type Call = {
  readonly client: Grpc.Client
  readonly clock: Clock
  readonly control: ControlPlane
  readonly csr: string
  readonly validitySec: number
  readonly metadata: Grpc.Metadata
}

/** Rejects with what grpc-js gives. */
function createCertificate({
  client,
  clock,
  control,
  csr,
  validitySec,
  metadata,
}: Call): Promise<IstioCertificateResponse> {
  return new Promise((resolve, reject) => {
    const { path } = CA.CreateCertificate
    const requestSerialize: typeof CA.CreateCertificate.requestSerialize = (m) => {
      const b = CA.CreateCertificate.requestSerialize(m)
      control.bytes?.('certificate', 'sent', b.length)
      return b
    }
    const responseDeserialize: typeof CA.CreateCertificate.responseDeserialize = (b) => {
      control.bytes?.('certificate', 'received', b.length)
      return CA.CreateCertificate.responseDeserialize(b)
    }
    const request = create(IstioCertificateRequestSchema, { csr, validityDuration: BigInt(validitySec) })
    const call = client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      metadata,
      (err: ServiceError | null, value?: IstioCertificateResponse) => {
        late.cancel()
        if (value) resolve(value)
        else reject(err ?? Object.assign(new Error('no answer'), { code: 2, details: 'no answer' }))
      },
    )
    const late = clock.after(TIMEOUT_MS, () => call.cancel())
  })
}

function lineEnd(pem: string): string {
  return pem.endsWith('\n') ? pem : `${pem}\n`
}
