/**
 * Certificate and key of the hub's TLS port, renewed at half their life. Kept in memory: a new start makes new ones.
 */
import type { experimental } from '@grpc/grpc-js'
import { jitterMs, type Clock, type Random, type Timer } from '../../core/os/clock.ts'
import type { Log } from '../../core/log.ts'
import type { Ca, ServerCertificate } from '../ca/ca.ts'
import { guard, doNothing } from '../../core/defects/guard.ts'

const RETRY_MS = 60_000

/**
 * What grpc-js asks for (its CertificateProvider): listeners are told soon and after each renewal. Not at once: grpc-js
 * puts itself on the list only after it has asked, and would never hear of an answer that comes before. Open
 * connections are not touched.
 */
export class ServerIdentity implements experimental.CertificateProvider, Disposable {
  readonly #ca: Ca
  readonly #dnsNames: readonly string[]
  readonly #world: { readonly clock: Clock; readonly random: Random; readonly log: Log }
  readonly #listeners = new Set<experimental.IdentityCertificateUpdateListener>()
  readonly #rootListeners = new Set<experimental.CaCertificateUpdateListener>()
  #current: ServerCertificate
  #timer: Timer

  /** Throws as `Ca.serverCertificate`. */
  constructor(
    ca: Ca,
    dnsNames: readonly string[],
    world: { readonly clock: Clock; readonly random: Random; readonly log: Log },
  ) {
    this.#ca = ca
    this.#dnsNames = dnsNames
    this.#world = world
    this.#current = ca.serverCertificate(dnsNames)
    this.#timer = world.clock.after(this.#renewInMs(), () => this.#renew())
  }

  get current(): ServerCertificate {
    return this.#current
  }
  addIdentityCertificateListener(listener: experimental.IdentityCertificateUpdateListener): void {
    this.#listeners.add(listener)
    queueMicrotask(guard('hub', doNothing, () => listener(this.#update())))
  }
  removeIdentityCertificateListener(listener: experimental.IdentityCertificateUpdateListener): void {
    this.#listeners.delete(listener)
  }
  /** Calls back after each renewal. */
  onRenewed(listener: () => void): Disposable {
    const called = (): void => listener()
    this.#listeners.add(called)
    return {
      [Symbol.dispose]: () => {
        this.#listeners.delete(called)
      },
    }
  }
  addCaCertificateListener(listener: experimental.CaCertificateUpdateListener): void {
    this.#rootListeners.add(listener)
    queueMicrotask(guard('hub', doNothing, () => listener({ caCertificate: Buffer.from(this.#ca.rootsPem) })))
  }
  removeCaCertificateListener(listener: experimental.CaCertificateUpdateListener): void {
    this.#rootListeners.delete(listener)
  }
  /** Others are trusted, or another one signs. */
  rootsChanged(): void {
    this.#timer.cancel()
    this.#renew()
    for (const listener of this.#rootListeners) listener({ caCertificate: Buffer.from(this.#ca.rootsPem) })
  }
  [Symbol.dispose](): void {
    this.#timer.cancel()
  }

  #renew(): void {
    let nextMs = RETRY_MS
    try {
      this.#current = this.#ca.serverCertificate(this.#dnsNames)
      for (const listener of this.#listeners) listener(this.#update())
      nextMs = this.#renewInMs()
      this.#world.log.info(
        { evt: 'hub.server-certificate', notAfter: new Date(this.#current.notAfterMs).toISOString() },
        'server certificate renewed',
      )
    } catch (err) {
      this.#world.log.error({ evt: 'hub.server-certificate', err }, 'server certificate not renewed')
    }
    this.#timer = this.#world.clock.after(nextMs, () => this.#renew())
  }

  #renewInMs(): number {
    return jitterMs(
      this.#current.notAfterMs - this.#world.clock.wallMs(),
      { fraction: 0.5, spread: 0.01 },
      this.#world.random,
    )
  }
  #update(): experimental.IdentityCertificateUpdate {
    return { certificate: Buffer.from(this.#current.chainPem), privateKey: Buffer.from(this.#current.keyPem) }
  }
}
