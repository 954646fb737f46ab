/**
 * TLS sessions of connections that went before (RFC 8446 §2.2): a device that comes back pays for no certificates. In
 * memory, and good for nothing but that: who the device is, and whether it may come in, is asked anew each time.
 */
import type { X509Certificate } from 'node:crypto'
import type { Clock } from '../../core/os/clock.ts'

/** `certificate`: the server's, which a connection that resumes the session does not show again. */
export type Resumable = { readonly session: Buffer; readonly certificate: X509Certificate }

/** A day less than hubs take them for. */
const KEPT_MS = 6 * 86_400_000
/** Hubs, and certificates shown to them. */
const MAX_SESSIONS = 8

export class TlsSessions {
  readonly #clock: Clock
  readonly #byPeer = new Map<string, Resumable & { readonly keptMs: number }>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @param peer whom with, and what we show */
  find(peer: string): Resumable | undefined {
    const kept = this.#byPeer.get(peer)
    return kept && this.#clock.monotonicMs() - kept.keptMs < KEPT_MS ? kept : undefined
  }
  keep(peer: string, { session, certificate }: Resumable): void {
    this.#byPeer.delete(peer)
    this.#byPeer.set(peer, { session, certificate, keptMs: this.#clock.monotonicMs() })
    for (const oldest of this.#byPeer.keys()) {
      if (this.#byPeer.size <= MAX_SESSIONS) break
      this.#byPeer.delete(oldest)
    }
  }
  forget(peer: string): void {
    this.#byPeer.delete(peer)
  }
}
