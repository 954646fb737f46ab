/**
 * Devices with a key of their own: how one joins, and how it renews what it has. The token opens the door once; from
 * then on the key proves the device, and who has lost its key, or was away for too long, waits for an operator.
 */
import { randomBytes } from 'node:crypto'
import type { Clock } from '../../core/os/clock.ts'
import { MeshError } from '../../core/errors.ts'
import { isExpired } from '../../core/pki/validity.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
import type { Renewed } from '../../model/fleet/enrollment.ts'
import { parseSpiffeId } from '../../model/identity.ts'
import { containsAddress, parseRange } from '../../model/ip.ts'
import type { Caller } from '../api/authenticate.ts'
import type { CertificateService } from '../api/certificate-service.ts'
import { isExact, isNodeName, matchesNode } from '../registry/node-names.ts'
import { KEY_HOLDER, type Applicant, type Enrollment } from '../registry/enrollments.ts'
import type { AuditEvent } from '../registry/audit.ts'
import { TOKEN_HOLDER, type Registry } from '../registry/registry.ts'
import type { TokenRow } from '../registry/rows.ts'
import type { Tokens } from '../tokens.ts'
import type { ControlTokens } from './control-tokens.ts'
import { advanceChain, classifyRenewal, type RenewalClaims } from './renewal-chain.ts'

export type DeviceServiceOptions = {
  readonly registry: Registry
  readonly tokens: Tokens
  readonly certificates: CertificateService
  /** Undefined: there is no istiod, and the hub's CA certifies. */
  readonly controlTokens: ControlTokens | undefined
  readonly trustDomain: string
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  readonly enrollment: {
    readonly approval: 'always' | 'token'
    readonly clones: 'both' | 'older' | 'none'
    readonly graceDays: number
  }
}
/** Who asks: the key that was proved, and where from. */
export type Asker = { readonly keyId: string; readonly address: string }
type Wish = {
  readonly csr?: string | undefined
  readonly ttlSec: number
  /** A token for the control plane's CA. */
  readonly controlToken?: boolean | undefined
}
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

const DAY_MS = 86_400_000

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

  /** Throws MESH_TOKEN_INVALID, MESH_CONTROL_FORBIDDEN, MESH_CONTROL_SLOW_DOWN, MESH_DEVICE_REVOKED, MESH_MALFORMED_INPUT. */
  join(asker: Asker, claims: JoinClaims): JoinResult {
    const { registry, tokens } = this.#o
    const { jti } = tokens.verify(claims.token)
    return registry.exclusively((): JoinResult => {
      const token = registry.token(jti)!
      this.#checkPlace(token, asker)
      const device = this.#applicant(token, asker, claims.name)
      const known = registry.enrollments.byName(device.name)
      if (known?.state === 'revoked') throw new MeshError('MESH_DEVICE_REVOKED', `the device ${device.name} is revoked`)
      // With an istiod the hub's own CA is nobody's.
      const first = { ...claims, counter: 0, chain: '', ...(this.#o.controlTokens ? { csr: undefined } : {}) }
      if (known?.keyId === asker.keyId && isJoinOf(known, first))
        return { device, state: 'active', renewed: this.#renew(known, asker, first) }
      if (registry.useToken(jti, asker.keyId, this.#nowMs) === 'used-up')
        throw new MeshError('MESH_TOKEN_INVALID', 'the join token is used up')
      const why = this.#whyWait(token, device, known)
      if (why !== undefined) return { device, state: 'pending', renewed: this.#wait(device, why) }
      const enrolled = registry.enrollments.enroll(device, this.#nowMs)
      this.#note('device.joined', device, `key ${device.keyId}, token ${jti}`)
      return { device, state: 'active', renewed: this.#renew(enrolled, asker, first) }
    })
  }

  /**
   * Throws MESH_DEVICE_UNKNOWN, MESH_DEVICE_PENDING, MESH_DEVICE_REVOKED, MESH_DEVICE_CLONED,
   * MESH_CONTROL_SLOW_DOWN, MESH_MALFORMED_INPUT.
   */
  renew(asker: Asker, claims: RenewalClaims & Wish): Renewed {
    const { registry } = this.#o
    // What is refused is written down all the same: the refusal is thrown outside of the transaction.
    const done = registry.exclusively((): Renewed | MeshError => {
      const device = this.#admit(asker)
      if (device instanceof MeshError) return device
      const { clones } = this.#o.enrollment
      const kind = classifyRenewal(device, claims)
      if (kind === 'diverged') {
        this.#markCloned(device, asker)
        if (clones !== 'both')
          return new MeshError(
            'MESH_DEVICE_CLONED',
            `the key of ${device.name} has renewed from ${device.address} already; this is a copy of it, or its state is older`,
          )
        return { ...this.#certify(device, asker, claims).renewed, counter: claims.counter, chain: claims.chain }
      }
      if (kind === 'resync' && device.counter > 0)
        this.#note('device.resynced', device, `from ${device.counter} to ${claims.counter + 1}`, asker.address)
      return this.#renew(device, asker, claims)
    })
    if (done instanceof MeshError) throw done
    return done
  }

  /** The device whose key it is, if it may have anything. Throws as `renew`. */
  identify(asker: Asker): Enrollment {
    const device = this.#admit(asker)
    if (device instanceof MeshError) throw device
    return device
  }

  get #nowMs(): number {
    return this.#o.clock.wallMs()
  }

  #admit({ keyId, address }: Asker): Enrollment | MeshError {
    const { registry, enrollment } = this.#o
    const waits = registry.enrollments.request({ keyId })
    if (waits) return new MeshError('MESH_DEVICE_PENDING', `${waits.name} waits for approval: ${waits.why}`)
    const device = registry.enrollments.byKey(keyId)
    if (!device) return new MeshError('MESH_DEVICE_UNKNOWN', `the hub knows no device with the key ${keyId}`)
    if (device.state !== 'active')
      return new MeshError('MESH_DEVICE_REVOKED', `the device ${device.name} is ${device.state}`)
    const awayMs = this.#nowMs - device.notAfterMs
    if (awayMs <= enrollment.graceDays * DAY_MS) return device
    const why = `its certificate ended ${Math.floor(awayMs / DAY_MS)} days ago (enrollment.graceDays ${enrollment.graceDays})`
    this.#wait({ ...device, address }, why)
    return new MeshError('MESH_DEVICE_PENDING', `${device.name} waits for approval: ${why}`)
  }

  #checkPlace({ cidrs }: TokenRow, { address }: Asker): void {
    if (cidrs.length === 0 || cidrs.some((cidr) => containsAddress(parseRange(cidr)!, address))) return
    throw new MeshError('MESH_TOKEN_INVALID', `the join token is not for ${address}`)
  }

  /** Its name is the token's, or its own choice within the token's pattern. */
  #applicant(token: TokenRow, { keyId, address }: Asker, asked: string | undefined): Applicant {
    const { jti, namespace, serviceAccount, labels, nodes } = token
    const own = this.#o.registry.enrollments.byKey(keyId)?.name
    const name = nodes !== null && isExact(nodes) ? nodes : asked
    if (nodes === null || name === undefined)
      throw new MeshError(
        'MESH_CONTROL_FORBIDDEN',
        `the join token is for ${nodes ?? 'no name'}: name the device (--name)`,
      )
    if (!isNodeName(name) || !matchesNode(nodes, name) || (asked !== undefined && asked !== name))
      throw new MeshError(
        'MESH_CONTROL_FORBIDDEN',
        `the join token is for ${nodes}, not for ${(asked ?? name).slice(0, 64)}`,
      )
    if (own !== undefined && own !== name)
      throw new MeshError('MESH_CONTROL_FORBIDDEN', `the device's key is that of ${own}; a device has one name`)
    return { name, keyId, namespace, serviceAccount, jti, labels, address }
  }

  /** Why an operator has to look first. */
  #whyWait(token: TokenRow, { name, keyId }: Applicant, known: Enrollment | undefined): string | undefined {
    if (known)
      return known.keyId === keyId
        ? 'it has joined before and lost where it stood'
        : `the name belongs to another key, last seen at ${known.address}`
    const holder = this.#o.registry.holderOf(name)
    if (holder !== undefined && !isExact(token.nodes!) && holder !== TOKEN_HOLDER + token.jti)
      return 'the name belongs to a device without a key of its own'
    return token.approval || this.#o.enrollment.approval === 'always' ? 'every device of its token does' : undefined
  }

  /** Throws MESH_CONTROL_FORBIDDEN when another key waits under the name already. */
  #wait(device: Applicant, why: string): undefined {
    const { enrollments } = this.#o.registry
    const waits = enrollments.request(device)
    if (waits && waits.keyId !== device.keyId)
      throw new MeshError('MESH_CONTROL_FORBIDDEN', `another device waits for approval as ${device.name}`)
    if (waits) return
    enrollments.ask({ ...device, why, askedMs: this.#nowMs })
    this.#note('device.pending', device, `${why}; key ${device.keyId}`)
    this.#o.log.warn(
      { evt: 'hub.device-pending', device: device.name, ip: device.address, why },
      'a device waits for approval',
    )
  }

  #renew(device: Enrollment, asker: Asker, claims: RenewalClaims & Wish): Renewed {
    const { renewed, notAfterMs } = this.#certify(device, asker, claims)
    const nowMs = this.#nowMs
    if (isExpired(device, nowMs) && device.counter > 0)
      this.#note(
        'device.returned',
        device,
        `its certificate had ended at ${new Date(device.notAfterMs).toISOString()}`,
        asker.address,
      )
    const isRepeat = classifyRenewal(device, claims) === 'repeat'
    const next = isRepeat ? device : advanceChain(claims, randomBytes(32))
    const { counter, chain, previousChain, nonce } = next
    this.#o.registry.enrollments.renewed(device.name, {
      counter,
      chain,
      previousChain,
      nonce,
      nowMs,
      notAfterMs,
      address: asker.address,
    })
    return { ...renewed, counter, chain }
  }

  /** Without a request for a certificate (an istiod gives those) it is as good as one of a day. */
  #certify(device: Enrollment, { address }: Asker, wish: Wish) {
    const { name, keyId, namespace, serviceAccount } = device
    const { certificates, controlTokens, trustDomain } = this.#o
    if (wish.controlToken === true && !controlTokens)
      throw new MeshError('MESH_CONTROL_FORBIDDEN', 'the hub has no istiod to give tokens for')
    const rest = {
      counter: 0,
      chain: '',
      ...(wish.controlToken === true ? { control: controlTokens!.issue(device) } : {}),
    }
    if (wish.csr === undefined) return { renewed: { certChain: [], ...rest }, notAfterMs: this.#nowMs + DAY_MS }
    const spiffeId = parseSpiffeId(`spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`)
    if (!spiffeId) throw new MeshError('MESH_INTERNAL', `the device ${name} is no workload`)
    const caller: Caller = {
      by: 'key',
      jti: undefined,
      device: KEY_HOLDER + keyId,
      endsMs: Infinity,
      namespace,
      serviceAccount,
      spiffeId,
    }
    const request = { csrPem: wish.csr, validitySec: wish.ttlSec, impersonates: false }
    const { chainPem, notAfterMs } = certificates.create(caller, request, address)
    return { renewed: { certChain: chainPem, ...rest }, notAfterMs }
  }

  #markCloned(device: Enrollment, { address }: Asker): void {
    const { registry, enrollment, log } = this.#o
    const { clones } = enrollment
    this.#clones.cell({ result: clones === 'both' ? 'certified' : 'refused' }).value++
    const addresses = `${device.address} and ${address}`
    if (device.clonedMs !== null && device.cloneAddresses === addresses) return
    const holder = KEY_HOLDER + device.keyId
    registry.enrollments.markCloned(device.name, {
      addresses,
      nowMs: this.#nowMs,
      state: clones === 'none' ? 'suspended' : 'active',
    })
    // What was copied with the key is a certificate of before.
    if (clones === 'older') registry.enrollments.revokeCertificates(holder, this.#nowMs, registry.newestSerial(holder))
    if (clones === 'none') registry.enrollments.revokeCertificates(holder, this.#nowMs)
    this.#note('device.cloned', device, `two copies, at ${addresses}; goes on: ${clones}`, address)
    log.warn(
      { evt: 'hub.device-cloned', device: device.name, addresses, policy: clones },
      'two machines have one device key',
    )
  }

  #note(event: AuditEvent, { name, keyId, address }: Applicant, detail: string, from = address): void {
    const actor = event === 'device.pending' ? `key:${keyId}` : `device:${name}`
    this.#o.registry.audit.add({ atMs: this.#nowMs, actor, event, subject: name, address: from, detail })
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
