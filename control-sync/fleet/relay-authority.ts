/** The hub's CA over the relay. */
import { fromBinary, toBinary, create } from '@bufbuild/protobuf'
import type { Clock } from '../../core/os/clock.ts'
import { MeshError } from '../../core/errors.ts'
import type { Mux } from '../../core/relay/mux.ts'
import { IstioCertificateRequestSchema, IstioCertificateResponseSchema } from '../../proto/gen/istio/v1/auth/ca_pb.ts'
import type { ControlPlane } from '../connection/control-plane.ts'
import { createKey, createCsr } from '../identity/csr.ts'
import { readIssued, describeRefusedLife, type CertificateAuthority } from '../identity/ca-client.ts'
import type { RelayLink } from './relay-link.ts'

const ANSWER_MS = 15_000

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

async function requestChain({ mux, csr, validitySec, address, control, clock }: Request): Promise<string[]> {
  const message = create(IstioCertificateRequestSchema, { csr, validityDuration: BigInt(validitySec) })
  const request = toBinary(IstioCertificateRequestSchema, message)
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
  const silent = new MeshError('MESH_CONTROL_TIMEOUT', `${address} sent no certificate within ${ANSWER_MS} ms`)
  const late = clock.after(ANSWER_MS, () => reject(silent))
  const stream = mux.open('certificate').listen({
    onMessage: resolve,
    onReset: reject,
    onEnd: () => reject(new MeshError('MESH_CONTROL_PROTOCOL', `${address} ended the stream without an answer`)),
  })
  stream.send(request)
  stream.end()
  control.bytes?.('certificate', 'sent', request.length)
  try {
    const answer = await promise
    control.bytes?.('certificate', 'received', answer.length)
    return fromBinary(IstioCertificateResponseSchema, answer).certChain
  } catch (thrown) {
    stream.reset(silent)
    throw thrown
  } finally {
    late.cancel()
  }
}
