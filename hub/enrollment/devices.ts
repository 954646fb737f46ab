/**
 * Devices with a key of their own: how one joins, and how it renews what it has. The token opens the door once; from
 * then on the key proves the device, and who has lost its key, or was away for too long, waits for an operator.
 */
import { MeshError } from '../../core/errors.ts'
import { isExpired } from '../../core/pki/validity.ts'
import type { ChainPosition } from '../../model/fleet/connection-proof.ts'
import type { Renewed } from '../../model/fleet/enrollment.ts'
import type { ProvedKey } from '../api/authenticate.ts'
import type { Applicant, Enrollment } from '../registry/enrollments.ts'
import type { Registry } from '../registry/registry.ts'
import { Admission, type Asker, type Wish, type DeviceServiceOptions } from './admission.ts'
import { classifyRenewal, type RenewalClaims } from './renewal-chain.ts'

export type JoinClaims = Wish & {
  readonly token: string
  readonly name?: string | undefined
  readonly nonce: string
}
/** `renewed` undefined: no certificate was asked for. */
export type JoinResult = {
  readonly device: Applicant
  readonly state: 'active' | 'pending'
  readonly renewed: Renewed | undefined
}

export class DeviceService {
  readonly #o: DeviceServiceOptions
  readonly #clones

  constructor(options: DeviceServiceOptions) {
    this.#o = options
    this.#clones = options.metrics.counter(
      'mesh_hub_clones_total',
      'Renewals by a copy of a device, by whether the copy got a certificate.',
      ['result'],
    )
  }

  /** Rejects with MESH_TOKEN_INVALID, MESH_CONTROL_FORBIDDEN, MESH_CONTROL_SLOW_DOWN, MESH_DEVICE_REVOKED, MESH_MALFORMED_INPUT. */
  async join(asker: Asker, claims: JoinClaims): Promise<JoinResult> {
    // Who has no token must not keep others from writing.
    const { jti } = await this.#o.tokens.verify(claims.token)
    return await this.#o.registry.exclusively(async (tx): Promise<JoinResult> => {
      const admission = this.#admission(tx)
      const token = await tx.token(jti)
      if (token?.revokedMs !== null) throw new MeshError('MESH_TOKEN_INVALID', 'the join token was revoked')
      admission.checkPlace(token, asker)
      const device = await admission.findApplicant(token, asker, claims)
      const known = await tx.enrollments.byName(device.name)
      if (known?.state === 'revoked') throw new MeshError('MESH_DEVICE_REVOKED', `the device ${device.name} is revoked`)
      // With an istiod the hub's own CA is nobody's.
      const first = { ...claims, counter: 0, chain: '', ...(this.#o.controlTokens ? { csr: undefined } : {}) }
      if (known?.keyId === asker.keyId && isJoinOf(known, first))
        return { device, state: 'active', renewed: await admission.renew(known, asker, first) }
      if ((await tx.useToken(jti, asker.keyId, this.#nowMs)) === 'used-up')
        throw new MeshError('MESH_TOKEN_INVALID', 'the join token is used up')
      const why = await admission.whyWait(token, device, known)
      if (why !== undefined) {
        await admission.wait(device, why)
        return { device, state: 'pending', renewed: undefined }
      }
      const enrolled = await tx.enrollments.enroll(device, this.#nowMs)
      await admission.note('device.joined', device, `key ${device.keyId}, token ${jti}`)
      return { device, state: 'active', renewed: await admission.renew(enrolled, asker, first) }
    })
  }

  /**
   * Rejects with MESH_DEVICE_UNKNOWN, MESH_DEVICE_PENDING, MESH_DEVICE_REVOKED, MESH_DEVICE_CLONED,
   * MESH_CONTROL_SLOW_DOWN, MESH_MALFORMED_INPUT.
   */
  async renew(asker: Asker, claims: RenewalClaims & Wish): Promise<Renewed> {
    // Who is nobody here must not keep others from writing.
    const found = await this.#admission(this.#o.registry).find(asker)
    if (found instanceof MeshError) throw found
    // What is refused is written down all the same: the refusal is thrown outside of the transaction.
    const done = await this.#o.registry.exclusively(async (tx): Promise<Renewed | MeshError> => {
      const admission = this.#admission(tx)
      const device = await admission.admit(asker)
      if (device instanceof MeshError) return device
      const { clones } = this.#o.enrollment
      const kind = classifyRenewal(device, claims)
      if (kind === 'diverged') {
        await admission.markCloned(device, asker)
        this.#clones.cell({ result: clones === 'both' ? 'certified' : 'refused' }).value++
        if (clones !== 'both')
          return new MeshError(
            'MESH_DEVICE_CLONED',
            `the key of ${device.name} has renewed from ${device.address} already; this is a copy of it, or its state is older`,
          )
        const { renewed } = await admission.certify(device, asker, claims)
        return { ...renewed, counter: claims.counter, chain: claims.chain }
      }
      if (kind === 'resync' && device.counter > 0)
        await admission.note(
          'device.resynced',
          device,
          `from ${device.counter} to ${claims.counter + 1}`,
          asker.address,
        )
      return await admission.renew(device, asker, claims)
    })
    if (done instanceof MeshError) throw done
    return done
  }

  /**
   * A connection by the device's key. Who is unknown or revoked, or waits without a certificate that counts, may not even
   * renew over it; what does not stand where its last renewal left it has to renew first, which finds copies.
   * Rejects with MESH_DEVICE_UNKNOWN, MESH_DEVICE_PENDING, MESH_DEVICE_REVOKED.
   */
  async enter(
    asker: Asker,
    { nonce = '', ...position }: ChainPosition,
  ): Promise<ProvedKey & { readonly device: Enrollment }> {
    const { registry } = this.#o
    const known = await registry.enrollments.byKey(asker.keyId)
    const isGood = known?.state === 'active' && !isExpired(known, this.#nowMs)
    const found = isGood ? known : await this.#admission(registry).find(asker)
    if (found instanceof MeshError) throw found
    // Who was away for too long is written down, where others cannot write.
    const admitted = isGood ? found : await registry.exclusively((tx) => this.#admission(tx).admit(asker))
    if (admitted instanceof MeshError) throw admitted
    const isDiverged = classifyRenewal(admitted, { ...position, nonce }) === 'diverged'
    return { id: asker.keyId, device: admitted, certificate: { notAfterMs: isDiverged ? 0 : admitted.notAfterMs } }
  }

  /** End of the newest certificate of a device. Rejects with MESH_DEVICE_UNKNOWN. */
  async findEndMs(keyId: string): Promise<number> {
    const device = await this.#o.registry.enrollments.byKey(keyId)
    if (!device) throw new MeshError('MESH_DEVICE_UNKNOWN', `the hub knows no device with the key ${keyId}`)
    return device.notAfterMs
  }

  get #nowMs(): number {
    return this.#o.clock.wallMs()
  }
  #admission(tx: Registry): Admission {
    return new Admission(this.#o, tx)
  }
}

/**
 * The answer was lost, or an operator's word came after it: asking again is the same join. Not once the device has
 * renewed, nor when it is kept out: a copy of it has the nonce, too.
 */
function isJoinOf(known: Enrollment, first: RenewalClaims): boolean {
  if (known.state !== 'active' || known.clonedMs !== null) return false
  return known.counter === 0 || classifyRenewal(known, first) === 'repeat'
}
