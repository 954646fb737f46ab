/**
 * Open connections end with the certificates that they rest on (agent.yaml `identity.expired`). A handshake asks that
 * once; here it is asked again when the first of them may have run out. One timer for all connections of the agent, in
 * and out, and nothing on the path of a request.
 */
import type { Timer } from '../core/os/clock.ts'
import type { MeshError, ErrorCode } from '../core/errors.ts'
import type { Family } from '../core/metrics.ts'
import { memoize } from '../core/memoize.ts'
import type { CertificatesUsed } from '../model/identity.ts'
import type { DownstreamTls, UpstreamTls } from '../model/tls.ts'
import type { Context } from './context.ts'

/** The clock may be set, the control plane may come back: what time alone would not change is asked so often. */
const LOOK_MS = 60_000
/** Looks come no closer together, however many connections end one after the other. */
const MIN_LOOK_MS = 20
/** Peers that the log line of a look names. */
const MAX_NAMED = 5

export type CertificateUse = {
  /** What the peer is. */
  readonly side: 'client' | 'server'
  readonly certificates: CertificatesUsed
  /** To end after what is under way. Whoever cannot know where that is leaves it to `cut`. */
  drain(reason: MeshError): void
  cut(reason: MeshError): void
}
const NOTHING_HELD: Disposable = { [Symbol.dispose]: () => {} }

class Watched implements Disposable {
  readonly use: CertificateUse
  cutAtMs: number | undefined
  readonly #open: Set<Watched>
  readonly #onLast: () => void

  constructor(use: CertificateUse, open: Set<Watched>, onLast: () => void) {
    this.use = use
    this.#open = open.add(this)
    this.#onLast = onLast
  }
  [Symbol.dispose](): void {
    if (this.#open.delete(this) && this.#open.size === 0) this.#onLast()
  }
}

/** Of the settings that a handshake was made with. */
export function usesIdentity({ certificate, validation }: DownstreamTls | UpstreamTls): boolean {
  return certificate?.from === 'workload' || validation?.roots.from === 'workload'
}

export class CertificateExpiryWatcher {
  readonly #ctx: Context
  readonly #open = new Set<Watched>()
  readonly #ended: Family<'peer' | 'code' | 'how'>
  #timer: Timer | undefined
  #nextMs = Infinity

  constructor(ctx: Context) {
    this.#ctx = ctx
    this.#ended = ctx.metrics.counter(
      'mesh_identity_connections_ended_total',
      'Open connections that were ended because a certificate they rested on has expired, by what the peer was, by error code, and by whether they were asked to end or cut off.',
      ['peer', 'code', 'how'],
    )
    // A certificate that is new may have ended the reason why others were to be cut.
    ctx.identity.watch(() => {
      if (this.#open.size > 0) this.#schedule(0)
    })
  }

  /** @returns to be disposed of when the connection is over */
  add(held: CertificateUse): Disposable {
    const { validity } = this.#ctx.identity
    if (!validity) return NOTHING_HELD
    const watched = new Watched(held, this.#open, this.#onLast)
    const now = validity.checkValidity(held.certificates)
    if (now.state === 'ended') this.#schedule(0)
    else if (now.leftMs !== Infinity) this.#schedule(Math.min(now.leftMs, LOOK_MS))
    return watched
  }
  readonly #onLast = (): void => this.#cancel()

  /** Open connections that are looked after. */
  get size(): number {
    return this.#open.size
  }

  #schedule(inMs: number): void {
    const atMs = this.#ctx.clock.monotonicMs() + Math.max(inMs, MIN_LOOK_MS)
    if (atMs >= this.#nextMs) return
    this.#cancel()
    this.#nextMs = atMs
    this.#timer = this.#ctx.clock.after(Math.ceil(atMs - this.#ctx.clock.monotonicMs()), () => {
      this.#nextMs = Infinity
      this.#look()
    })
  }
  #cancel(): void {
    this.#timer?.cancel()
    this.#nextMs = Infinity
  }

  #look(): void {
    const { validity } = this.#ctx.identity
    if (!validity) return
    const nowMs = this.#ctx.clock.monotonicMs()
    const ended: { how: 'asked' | 'cut'; held: CertificateUse; code: ErrorCode }[] = []
    let nextMs = Infinity
    for (const watched of this.#open) {
      const held = watched.use
      const now = validity.checkValidity(held.certificates)
      if (now.state === 'valid') {
        // What goes on although it was asked to end, a stream of bytes that are not ours, may after a renewal.
        watched.cutAtMs = undefined
        if (now.leftMs !== Infinity) nextMs = Math.min(nextMs, now.leftMs, LOOK_MS)
        continue
      }
      const isFirst = watched.cutAtMs === undefined
      // Who was thrown out gets no time to finish.
      watched.cutAtMs ??= nowMs + (now.reason.code === 'MESH_PEER_REVOKED' ? 0 : validity.endWithinMs)
      const isOver = nowMs >= watched.cutAtMs
      if (isFirst || isOver) ended.push({ how: isOver ? 'cut' : 'asked', held, code: now.reason.code })
      if (isOver) {
        this.#open.delete(watched)
        held.cut(now.reason)
      } else {
        if (isFirst) held.drain(now.reason)
        nextMs = Math.min(nextMs, watched.cutAtMs - nowMs, LOOK_MS)
      }
    }
    this.#report(ended)
    if (nextMs < Infinity && this.#open.size > 0) this.#schedule(nextMs)
  }

  #report(
    ended: readonly { readonly how: 'asked' | 'cut'; readonly held: CertificateUse; readonly code: ErrorCode }[],
  ): void {
    if (ended.length === 0) return
    for (const { how, held, code } of ended) this.#ended.cell({ peer: held.side, code, how }).value++
    this.#ctx.log.warn(
      {
        evt: 'identity.connections-ended',
        asked: ended.filter((e) => e.how === 'asked').length,
        cut: ended.filter((e) => e.how === 'cut').length,
        codes: [...new Set(ended.map((e) => e.code))],
        peers: [...new Set(ended.map((e) => e.held.certificates.peer?.spiffeId?.uri ?? '-'))].slice(0, MAX_NAMED),
      },
      'open connections end with a certificate that they rested on',
    )
  }
}

/** One per context, so that what comes in and what goes out share a timer. */
export const getExpiryWatcher = memoize((ctx: Context) => new CertificateExpiryWatcher(ctx))
