/** The protocol side of an agent: joins, takes configuration over the relay, keeps its versions, reports what it is told to, and nothing else. */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import type { ByteCount, ControlPlane } from '../../../control-sync/connection/control-plane.ts'
import type { AdsRequest, AdsResponse } from '../../../control-sync/ads/protocol.ts'
import type { AdsStream } from '../../../control-sync/ads/transport.ts'
import { describeNode } from '../../../control-sync/ads/node.ts'
import type { DeviceKey } from '../../../control-sync/fleet/device/device-key.ts'
import { askHub } from '../../../control-sync/fleet/hub-client.ts'
import { refuseStream, RelayLink } from '../../../control-sync/fleet/relay-link.ts'
import { RelayTransport, type Kept } from '../../../control-sync/fleet/relay-transport.ts'
import { systemClock } from '../../../core/os/clock.ts'
import { createCsr, createKey } from '../../../control-sync/identity/csr.ts'
import { hashThumbprint, signEs256, toEs256Jwk } from '../../../core/jwt/sign.ts'
import { JOIN_PATH, type Renewed } from '../../../model/fleet/enrollment.ts'
import type { ResourceKind } from '../../../model/snapshot.ts'
import { doNothing } from '../../../core/defects/guard.ts'
import { packMessage } from '../../../core/relay/compression.ts'
import type { RelayStream } from '../../../core/relay/stream.ts'
import type { Report } from '../../../model/fleet/report.ts'
import { encodeReport, splitReport, type ReportFields } from '../../../model/fleet/report-message.ts'
import { PLAIN_NODE } from '../../helpers/control-plane/node-settings.ts'

export type Hub = {
  readonly address: string
  readonly roots: Buffer
  readonly token: string
  readonly serverName: string
}

const KINDS = ['cluster', 'endpoint', 'listener', 'route'] as const satisfies readonly ResourceKind[]
const NOTHING = { withNode: false, subscribe: [], unsubscribe: [], known: new Map(), nonce: '', error: undefined }
/** Thousands of devices have the same: one copy of each version. */
const values = new Map<string, Kept>()

export class Device {
  readonly name: string
  readonly #hub: Hub
  readonly #names: ReadonlyMap<ResourceKind, readonly string[]>
  readonly #has = new Map<ResourceKind, Map<string, Kept>>()
  readonly #count: ByteCount
  readonly #answered = new Set<ResourceKind>()
  #link: RelayLink | undefined
  #stream: AdsStream | undefined
  #reports: { readonly stream: RelayStream; told: ReportFields } | undefined
  #whole = Promise.withResolvers<void>()
  /** Responses that brought or took resources. */
  changes = 0

  /** @param names of endpoints and routes that it asks for */
  constructor(p: {
    readonly name: string
    readonly hub: Hub
    readonly names: ReadonlyMap<ResourceKind, readonly string[]>
    readonly count: ByteCount
  }) {
    this.name = p.name
    this.#hub = p.hub
    this.#names = p.names
    this.#count = p.count
  }

  /** At the relay's port; from then on its key proves it. */
  async join(): Promise<void> {
    const { address, roots, token } = this.#hub
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
    const jwk = toEs256Jwk(privateKey)!
    const key: DeviceKey = { jwk, keyId: hashThumbprint(jwk), sign: (signed) => signEs256(signed, privateKey) }
    const at = {
      url: new URL(address.replace('wss:', 'https:')),
      trust: { rootsPem: roots.toString() },
      certificateClock: { nowMs: () => Date.now(), clockIsWrong: false, seen: () => undefined },
      findProxy: undefined,
      clock: systemClock,
      key,
    }
    const csr = createCsr(await createKey('ecdsa-p256'), 'spiffe://cluster.local/ns/edge/sa/gateway')
    const nonce = randomBytes(16).toString('base64url')
    const { body } = await askHub(at, JOIN_PATH, { token, name: this.name, nonce, csr, ttlSec: 0 })
    const { counter, chain } = body['renewed'] as Renewed
    const position = { counter, chain, nonce: undefined }
    this.#link = new RelayLink({
      control: this.#control(),
      identity: () => undefined,
      clock: systemClock,
      onStream: refuseStream,
      device: { findKey: async () => key, position: () => position },
    })
  }

  /** Resolves once everything is answered. */
  async connect(): Promise<void> {
    this.#answered.clear()
    this.#whole = Promise.withResolvers()
    const transport = new RelayTransport({
      link: this.#link!,
      control: this.#control(),
      node: describeNode({ ...PLAIN_NODE, name: this.name }),
      stored: (kind, name) => this.#has.get(kind)?.get(name),
      onCertificateRefused: () => undefined,
    })
    this.#stream = await transport.open({
      onResponse: (response) => this.#take(response),
      onEnd: (reason) => this.#whole.reject(reason),
    })
    for (const [i, kind] of KINDS.entries()) {
      const known = this.#has.get(kind) ?? new Map<string, Kept>()
      const request: AdsRequest = { ...NOTHING, kind, withNode: i === 0, subscribe: this.#names.get(kind) ?? [], known }
      this.#stream.send(request)
    }
    await this.#whole.promise
  }
  /** As the reporter does it: the first of a connection whole, then what differs. */
  async report(report: Report): Promise<void> {
    const connection = await this.#link!.connect({ certificateRefused: false })
    if (!this.#reports || this.#reports.stream.isOver)
      this.#reports = { stream: connection.mux.open('report').listen({ onMessage: doNothing }), told: new Map() }
    const fields = splitReport(report)
    const message = packMessage(encodeReport(fields, this.#reports.told), connection)
    this.#count('report', 'sent', message.length)
    this.#reports.stream.send(message)
    this.#reports.told = fields
  }
  leave(): void {
    this.#whole.promise.catch(() => undefined)
    this.#stream?.close()
    this.#stream = undefined
  }

  #take({ kind, nonce, resources, removed }: AdsResponse): void {
    const has = this.#has.get(kind) ?? new Map<string, Kept>()
    this.#has.set(kind, has)
    for (const { name, version, value } of resources) {
      const key = `${kind} ${name} ${version}`
      const kept = values.get(key) ?? { version, value: Uint8Array.from(value) }
      values.set(key, kept)
      has.set(name, kept)
    }
    for (const name of removed) has.delete(name)
    if (resources.length + removed.length > 0) this.changes++
    this.#stream?.send({ ...NOTHING, kind, nonce })
    this.#answered.add(kind)
    if (this.#answered.size === KINDS.length) this.#whole.resolve()
  }

  #control(): ControlPlane {
    const { address, roots, token, serverName } = this.#hub
    return {
      addresses: [address],
      serverName,
      clusterId: 'Kubernetes',
      roots: () => roots,
      token: () => token,
      bytes: this.#count,
    }
  }
}
