/** The hub's CA over the relay. */
import { fromBinary, toBinary, create } from '@bufbuild/protobuf'
import type { Clock } from '../../core/os/clock.ts'
import type { MeshError } from '../../core/errors.ts'
import type { Mux } from '../../core/relay/mux.ts'
import { IstioCertificateRequestSchema, IstioCertificateResponseSchema } from '../../proto/gen/istio/v1/auth/ca_pb.ts'
import type { ControlPlane } from '../connection/control-plane.ts'
import { createKey, createCsr } from '../identity/csr.ts'
import { readIssued, describeRefusedLife, type CertificateAuthority } from '../identity/ca-client.ts'
import { askOnce } from './ask-once.ts'
import type { RelayLink } from './relay-link.ts'

/** One stream for each certificate. Rejects as RelayLink.connect, and with what the hub resets the stream with. */
export function createRelayAuthority(link: RelayLink, control: ControlPlane, clock: Clock): CertificateAuthority {
  return async ({ spiffeUri, ttlSec, key, certificateRefused }) => {
    const { mux } = await link.connect({ certificateRefused })
    const { address } = link
    const keyPem = await createKey(key)
    const csr = createCsr(keyPem, spiffeUri)
    const ask = (validitySec: number): Promise<string[]> =>
      requestChain({ mux, csr, validitySec, address, control, clock })
    try {
      let ttlRefused: MeshError | undefined
      const chain = await ask(ttlSec).catch(async (thrown: MeshError) => {
        if (ttlSec === 0 || thrown.code !== 'MESH_MALFORMED_INPUT') throw thrown
        const answer = await ask(0)
        ttlRefused = describeRefusedLife(address, ttlSec, thrown.message)
        return answer
      })
      return { identity: readIssued(keyPem, chain, address), ttlRefused }
    } finally {
      link.closeIfUnusedSoon()
    }
  }
}

type Request = {
  readonly mux: Mux
  readonly csr: string
  /** 0 = the hub's default. */
  readonly validitySec: number
  readonly address: string
  readonly control: ControlPlane
  readonly clock: Clock
}

async function requestChain({ csr, validitySec, control, ...by }: Request): Promise<string[]> {
  const request = create(IstioCertificateRequestSchema, { csr, validityDuration: BigInt(validitySec) })
  const message = toBinary(IstioCertificateRequestSchema, request)
  const answer = await askOnce({ ...by, kind: 'certificate', message, bytes: control.bytes })
  return fromBinary(IstioCertificateResponseSchema, answer).certChain
}
