/** One device's request within its transaction of the registry: who it is, what it may have, what is written down. */
import { randomBytes } from 'node:crypto'
import { MeshError } from '../../core/errors.ts'
import type { Clock } from '../../core/os/clock.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
import { isExpired } from '../../core/pki/validity.ts'
import type { Renewed } from '../../model/fleet/enrollment.ts'
import { containsAddress, parseRange } from '../../model/ip.ts'
import { describeKeyCaller } from '../api/authenticate.ts'
import type { CertificateService } from '../api/certificate-service.ts'
import type { AuditEvent } from '../registry/audit.ts'
import { KEY_HOLDER, type Applicant, type Enrollment } from '../registry/enrollments.ts'
import { TOKEN_HOLDER } from '../registry/names.ts'
import { isExact, isNodeName, matchesNode } from '../registry/node-names.ts'
import type { Registry } from '../registry/registry.ts'
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
    readonly pendingDays: number
  }
}
/** Who asks: the key that was proved, and where from. */
export type Asker = { readonly keyId: string; readonly address: string }
export type Wish = {
  readonly csr?: string | undefined
  readonly ttlSec: number
  /** A token for the control plane's CA. */
  readonly controlToken?: boolean | undefined
}
/** `ownName` counts where the token is for several and none is asked for. */
export type NameWish = { readonly name?: string | undefined; readonly ownName?: string | undefined }
const DAY_MS = 86_400_000

export class Admission {
  readonly #o: DeviceServiceOptions
  readonly #tx: Registry

  constructor(options: DeviceServiceOptions, tx: Registry) {
    this.#o = options
    this.#tx = tx
  }

  /** As `admit`, and writes nothing: how long the device was away is not looked at. */
  async find({ keyId }: Asker): Promise<Enrollment | MeshError> {
    const waits = await this.#tx.enrollments.request({ keyId })
    if (waits && waits.askedMs >= this.#forgottenMs)
      return new MeshError('MESH_DEVICE_PENDING', `${waits.name} waits for approval: ${waits.why}`)
    const device = await this.#tx.enrollments.byKey(keyId)
    if (!device) return new MeshError('MESH_DEVICE_UNKNOWN', `the hub knows no device with the key ${keyId}`)
    if (device.state === 'active') return device
    return new MeshError('MESH_DEVICE_REVOKED', `the device ${device.name} is ${device.state}`)
  }

  /** @returns the device whose key it is, or why it may have nothing */
  async admit(asker: Asker): Promise<Enrollment | MeshError> {
    const { enrollment } = this.#o
    const { address } = asker
    await this.#forgetLate()
    const device = await this.find(asker)
    if (device instanceof MeshError) return device
    const awayMs = this.#nowMs - device.notAfterMs
    if (awayMs <= enrollment.graceDays * DAY_MS) return device
    const why = `its certificate ended ${Math.floor(awayMs / DAY_MS)} days ago (enrollment.graceDays ${enrollment.graceDays})`
    await this.wait({ ...device, address }, why)
    return new MeshError('MESH_DEVICE_PENDING', `${device.name} waits for approval: ${why}`)
  }

  /** Throws MESH_TOKEN_INVALID. */
  checkPlace({ cidrs }: TokenRow, { address }: Asker): void {
    if (cidrs.length === 0 || cidrs.some((cidr) => containsAddress(parseRange(cidr)!, address))) return
    throw new MeshError('MESH_TOKEN_INVALID', `the join token is not for ${address}`)
  }

  /** Its name is the token's, or its own choice within the token's pattern. Rejects with MESH_CONTROL_FORBIDDEN. */
  async findApplicant(
    token: TokenRow,
    { keyId, address }: Asker,
    { name: asked, ownName }: NameWish,
  ): Promise<Applicant> {
    const { jti, namespace, serviceAccount, labels, nodes } = token
    const own = (await this.#tx.enrollments.byKey(keyId))?.name
    const name = nodes !== null && isExact(nodes) ? nodes : (asked ?? ownName)
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
  async whyWait(
    token: TokenRow,
    { name, keyId, namespace }: Applicant,
    known: Enrollment | undefined,
  ): Promise<string | undefined> {
    if (known)
      return known.keyId === keyId
        ? 'it has joined before and lost where it stood'
        : // Where another tenant's device stands is nobody else's business.
          `the name belongs to another key${known.namespace === namespace ? `, last seen at ${known.address}` : ''}`
    const holder = await this.#tx.holderOf(name)
    if (holder !== undefined && !isExact(token.nodes!) && holder !== TOKEN_HOLDER + token.jti)
      return 'the name belongs to a device without a key of its own'
    return token.approval || this.#o.enrollment.approval === 'always' ? 'every device of its token does' : undefined
  }

  async #forgetLate(): Promise<void> {
    await this.#tx.enrollments.dropRequests(this.#forgottenMs)
  }

  /** Rejects with MESH_CONTROL_FORBIDDEN when another key waits under the name already. */
  async wait(device: Applicant, why: string): Promise<void> {
    const { enrollments } = this.#tx
    await this.#forgetLate()
    const waits = await enrollments.request(device)
    if (waits && waits.keyId !== device.keyId)
      throw new MeshError('MESH_CONTROL_FORBIDDEN', `another device waits for approval as ${device.name}`)
    if (waits) return
    await enrollments.ask({ ...device, why, askedMs: this.#nowMs })
    await this.note('device.pending', device, `${why}; key ${device.keyId}`)
    this.#o.log.warn(
      { evt: 'hub.device-pending', device: device.name, ip: device.address, why },
      'a device waits for approval',
    )
  }

  async renew(device: Enrollment, asker: Asker, claims: RenewalClaims & Wish): Promise<Renewed> {
    const { renewed, notAfterMs } = await this.certify(device, asker, claims)
    const nowMs = this.#nowMs
    if (isExpired(device, nowMs) && device.counter > 0)
      await this.note(
        'device.returned',
        device,
        `its certificate had ended at ${new Date(device.notAfterMs).toISOString()}`,
        asker.address,
      )
    const isRepeat = classifyRenewal(device, claims) === 'repeat'
    const next = isRepeat ? device : advanceChain(claims, randomBytes(32))
    const { counter, chain, previousChain, nonce } = next
    await this.#tx.enrollments.renewed(device.name, {
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
  async certify(
    device: Enrollment,
    { address }: Asker,
    wish: Wish,
  ): Promise<{ readonly renewed: Renewed; readonly notAfterMs: number }> {
    const { certificates, controlTokens, trustDomain } = this.#o
    if (wish.controlToken === true && !controlTokens)
      throw new MeshError('MESH_CONTROL_FORBIDDEN', 'the hub has no istiod to give tokens for')
    const rest = {
      counter: 0,
      chain: '',
      ...(wish.controlToken === true ? { control: controlTokens!.issue(device) } : {}),
    }
    if (wish.csr === undefined) return { renewed: { certChain: [], ...rest }, notAfterMs: this.#nowMs + DAY_MS }
    const caller = describeKeyCaller(device, trustDomain)
    const request = { csrPem: wish.csr, validitySec: wish.ttlSec, impersonates: false }
    const { chainPem, notAfterMs } = await certificates.create(caller, request, address, this.#tx)
    return { renewed: { certChain: chainPem, ...rest }, notAfterMs }
  }

  async markCloned(device: Enrollment, { address }: Asker): Promise<void> {
    const { enrollment, log } = this.#o
    const { enrollments } = this.#tx
    const { clones } = enrollment
    const addresses = `${device.address} and ${address}`
    if (device.clonedMs !== null && device.cloneAddresses === addresses) return
    const holder = KEY_HOLDER + device.keyId
    await enrollments.markCloned(device.name, {
      addresses,
      nowMs: this.#nowMs,
      state: clones === 'none' ? 'suspended' : 'active',
    })
    // What was copied with the key is a certificate of before.
    if (clones === 'older')
      await enrollments.revokeCertificates(holder, this.#nowMs, await this.#tx.newestSerial(holder))
    if (clones === 'none') await enrollments.revokeCertificates(holder, this.#nowMs)
    await this.note('device.cloned', device, `two copies, at ${addresses}; goes on: ${clones}`, address)
    log.warn(
      { evt: 'hub.device-cloned', device: device.name, addresses, policy: clones },
      'two machines have one device key',
    )
  }

  async note(
    event: AuditEvent,
    { name, keyId, address, namespace }: Applicant,
    detail: string,
    from = address,
  ): Promise<void> {
    const actor = event === 'device.pending' ? `key:${keyId}` : `device:${name}`
    await this.#tx.audit.add({ atMs: this.#nowMs, actor, event, subject: name, address: from, detail, namespace })
  }

  /** Requests of before are nobody's any more. */
  get #forgottenMs(): number {
    return this.#nowMs - this.#o.enrollment.pendingDays * DAY_MS
  }
  get #nowMs(): number {
    return this.#o.clock.wallMs()
  }
}
