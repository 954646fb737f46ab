/** Streams of one cluster that were handed out whole: they end when their certificates expire, or TLS is asked for. */
import type { Duplex } from 'node:stream'
import type { MeshError } from '../../core/errors.ts'
import type { Endpoint } from '../../model/cluster.ts'
import type { CertificateExpiryWatcher, CertificateUse } from '../certificate-expiry.ts'
import { endFor } from '../tls/client.ts'
import type { ConnectOptions } from '../upstream-api.ts'
import type { Dialed } from './dial.ts'

type Told = { readonly endpoint: Endpoint; readonly onEnding: ConnectOptions['onEnding'] }

export class Tunnels {
  readonly #expiryWatcher: CertificateExpiryWatcher
  readonly #open = new Map<CertificateUse, Told>()

  constructor(expiryWatcher: CertificateExpiryWatcher) {
    this.#expiryWatcher = expiryWatcher
  }

  get size(): number {
    return this.#open.size
  }

  /** @returns to be disposed of when it is over */
  track(stream: Duplex, certificates: Dialed['certificates'], told: Told): Disposable {
    const tunnel: CertificateUse = {
      side: 'server',
      certificates,
      drain: (reason) => told.onEnding?.(reason),
      cut: (reason) => {
        endFor(stream, reason)
        stream.destroy()
      },
    }
    const held = new DisposableStack()
    held.use(this.#expiryWatcher.add(tunnel))
    this.#open.set(tunnel, told)
    held.defer(() => {
      this.#open.delete(tunnel)
    })
    return held
  }

  /** Their owners are told, and end them; those without an owner's ear are cut off. */
  end(isMeant: (endpoint: Endpoint) => boolean, reason: MeshError): void {
    for (const [tunnel, { endpoint, onEnding }] of this.#open) {
      if (!isMeant(endpoint)) continue
      if (onEnding) onEnding(reason)
      else tunnel.cut(reason)
    }
  }
  cut(reason: MeshError, isMeant: (endpoint: Endpoint) => boolean = () => true): void {
    for (const [tunnel, { endpoint }] of this.#open) if (isMeant(endpoint)) tunnel.cut(reason)
  }
}
