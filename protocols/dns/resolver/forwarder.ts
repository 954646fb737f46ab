/**
 * What the mesh does not know: from the cache, from an upstream resolver, or, when none answers, from the cache
 * although it is past its time.
 */
import type { Clock } from '../../../core/os/clock.ts'
import { takeLease, Tallies, Tally } from '../../../core/lease.ts'
import type { Log } from '../../../core/log.ts'
import type { Address } from '../../../core/os/network.ts'
import { NO_AUTHORITY, createPlainAnswer, STALE, type Answer, type EncodeOptions } from '../codec/answer.ts'
import type { AnswerStore } from './answer-store.ts'
import type { Cache, Entry } from './cache.ts'
import type { Exchange, Reply } from './exchange.ts'
import type { DnsMetrics, Source } from '../metrics.ts'
import type { Query } from '../codec/query.ts'
import type { Response } from '../codec/response.ts'
import type { Server, Servers } from './servers.ts'
import type { DnsSettings } from '../settings.ts'
import { toAsker, Shares } from '../shares.ts'
import { Rcode, STALE_TTL_SEC } from '../codec/wire.ts'

export type Resolved = { readonly source: Source; readonly answer: Answer } & Pick<EncodeOptions, 'ttlSec' | 'why'>

/** RFC 8767 §5: so long a client waits for a fresh answer when there is a stale one. */
const CLIENT_RESPONSE_MS = 1_800
/** RFC 8767 §5: after a failed try nobody is asked again for so long, if there is a stale answer. */
const RECHECK_MS = 30_000
/**
 * RFC 9520 §3.2: a failure is remembered, so that clients that ask again do not multiply it; no longer, because links
 * come back.
 */
const FAILURE_MS = 5_000
/**
 * The second round is for a datagram that was lost. No new try begins after MAX_QUERY_MS: clients have given up by
 * then.
 */
const ROUNDS = 2,
  MAX_QUERY_MS = 8_000
/**
 * Questions that wait for the answer to an equal one, in all and of one client: a silent server would have as many in
 * memory as come within MAX_QUERY_MS.
 */
const MAX_JOINED = 4_096,
  MAX_JOINED_PER_CLIENT = 64

type ForwarderOptions = {
  readonly settings: DnsSettings
  readonly clock: Clock
  readonly log: Log
  readonly metrics: DnsMetrics
  readonly servers: Servers
  readonly exchange: Exchange
  readonly cache: Cache
  /** Undefined: answers are kept in memory only. */
  readonly store: AnswerStore | undefined
}

export class Forwarder {
  readonly #o: ForwarderOptions
  readonly #inFlight = new Map<string, Promise<Resolved>>()
  readonly #shares: Shares
  readonly #joined = new Tally()
  readonly #joinedByClient = new Tallies<string>()
  #stopped = false

  constructor(options: ForwarderOptions) {
    this.#o = options
    this.#shares = new Shares({ max: options.settings.maxInFlight, patienceMs: options.settings.attemptMs / 2 })
  }
  /** Starts no new try; those under way end as their exchange does. */
  stop(): void {
    this.#stopped = true
  }
  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await Promise.all(this.#inFlight.values())
  }

  /** Never rejects. @param from who asks */
  async resolve(query: Query, from: Address): Promise<Resolved> {
    const { cache, clock, store } = this.#o
    store?.load()
    const now = clock.monotonicMs()
    const entry = cache.get(query.key, now)
    if (entry && now < entry.freshUntilMs) return fromCache(entry, now, this.#o.settings)
    const stale = entry && ({ source: 'stale', answer: entry.answer, ttlSec: () => STALE_TTL_SEC, why: STALE } as const)
    if (stale && now < entry.restUntilMs) return stale
    const fresh = this.#refresh(query, from)
    if (!fresh) return stale ?? failed(Rcode.SERVFAIL)
    if (!stale) return fresh
    const late = Promise.withResolvers<undefined>()
    const timer = clock.after(CLIENT_RESPONSE_MS, () => late.resolve(undefined))
    const first = await Promise.race([fresh, late.promise])
    timer.cancel()
    return first && first.source !== 'failed' ? first : stale
  }

  /**
   * Equal questions are asked once, at the cost of who was first. Undefined when this client, or all, have too many
   * under way.
   */
  #refresh(query: Query, from: Address): Promise<Resolved> | undefined {
    const known = this.#inFlight.get(query.key)
    if (known) return this.#join(known, from)
    const { clock, metrics } = this.#o
    if (this.#stopped) return undefined
    const givenUp = new AbortController()
    const share = this.#shares.take(
      { client: toAsker(from), purpose: parentOf(query.name) },
      clock.monotonicMs(),
      () => {
        metrics.refused('MESH_UPSTREAM_OVERFLOW')
        givenUp.abort()
      },
    )
    if (!share) {
      this.#refused(from)
      return undefined
    }
    const asking = this.#ask(query, givenUp.signal)
      .then((response) => (givenUp.signal.aborted ? failed(Rcode.SERVFAIL) : this.#keep(query.key, response)))
      .finally(() => {
        share[Symbol.dispose]()
        this.#inFlight.delete(query.key)
      })
    this.#inFlight.set(query.key, asking)
    return asking
  }

  #join(known: Promise<Resolved>, from: Address): Promise<Resolved> | undefined {
    const asker = toAsker(from)
    if (this.#joined.now >= MAX_JOINED || this.#joinedByClient.of(asker) >= MAX_JOINED_PER_CLIENT) {
      this.#refused(from)
      return undefined
    }
    const lease = takeLease(this.#joined, this.#joinedByClient.tally(asker))
    return known.finally(() => {
      lease[Symbol.dispose]()
    })
  }
  #refused({ host }: Address): void {
    const { metrics, log } = this.#o
    metrics.refused('MESH_UPSTREAM_OVERFLOW')
    log.debug(
      { evt: 'dns.refused', code: 'MESH_UPSTREAM_OVERFLOW', inFlight: this.#inFlight.size, peer: host },
      'too many queries wait for upstream resolvers',
    )
  }

  /** The first good answer; else what a server refused it with; undefined when none said anything. */
  async #ask(query: Query, givenUp: AbortSignal): Promise<Response | undefined> {
    const { servers, clock } = this.#o
    const untilMs = clock.monotonicMs() + MAX_QUERY_MS
    let refusal: Response | undefined
    for (let round = 0; round < ROUNDS && !refusal; round++) {
      for (const server of servers.inOrder()) {
        if (this.#stopped || givenUp.aborted || clock.monotonicMs() > untilMs) return refusal
        const response = await this.#askOne(server, query, givenUp)
        if (response && isGood(response)) return response
        refusal ??= response
      }
    }
    if (!refusal && !givenUp.aborted) servers.allSilent()
    return refusal
  }

  async #askOne(server: Server, query: Query, givenUp: AbortSignal): Promise<Response | undefined> {
    const { exchange } = this.#o
    let reply = await exchange.ask(server, query, givenUp)
    // RFC 6891 §7: a server that knows no EDNS says that it cannot read the query.
    if (
      server.edns &&
      reply.result === 'answered' &&
      !reply.response.edns &&
      (reply.response.rcode === Rcode.FORMERR || reply.response.rcode === Rcode.NOTIMP)
    ) {
      server.edns = false
      reply = await exchange.ask(server, query, givenUp)
    }
    this.#report(server, reply)
    return reply.result === 'answered' ? reply.response : undefined
  }
  #report(server: Server, { result }: Reply): void {
    const { servers } = this.#o
    if (result === 'answered') servers.answered(server)
    else if (result === 'loop') servers.looped(server)
    else if (result !== 'cancelled') servers.unanswered(server)
  }

  #keep(key: string, response: Response | undefined): Resolved {
    const { cache, clock, settings, store } = this.#o
    const now = clock.monotonicMs()
    if (!response || !isGood(response)) {
      if (this.#stopped) return failed(Rcode.SERVFAIL)
      const before = cache.get(key, now)
      const resolved = failed(response?.rcode ?? Rcode.SERVFAIL)
      if (before) before.restUntilMs = now + RECHECK_MS
      else
        cache.set(key, {
          answer: resolved.answer,
          storedMs: now,
          freshUntilMs: now + FAILURE_MS,
          staleUntilMs: 0,
          restUntilMs: 0,
        })
      return resolved
    }
    const answer: Answer = { rcode: response.rcode, flags: response.flags, records: response.records }
    const keepSec =
      response.ttlSec === undefined
        ? 0
        : Math.min(response.ttlSec, response.negative ? settings.maxNegativeTtlSec : settings.maxTtlSec)
    if (keepSec === 0) return { source: 'forwarded', answer }
    const freshUntilMs = now + keepSec * 1000
    const entry: Entry = {
      answer,
      storedMs: now,
      freshUntilMs,
      staleUntilMs: freshUntilMs + settings.maxStaleSec * 1000,
      restUntilMs: 0,
    }
    cache.set(key, entry)
    store?.changed()
    return { ...fromCache(entry, now, settings), source: 'forwarded' }
  }
}

/** A resolver is silent for a domain, not for a name; what cannot be a name is one purpose. */
function parentOf(name: string | undefined): string {
  return name === undefined ? '' : name.slice(name.indexOf('.') + 1)
}

function isGood({ rcode }: { readonly rcode: number }): boolean {
  return rcode === Rcode.NOERROR || rcode === Rcode.NXDOMAIN
}

function failed(rcode: number): Resolved {
  return { source: 'failed', answer: createPlainAnswer(rcode), why: NO_AUTHORITY }
}

/**
 * TTLs count down from what was received, and none is above what was decided to be kept (RFC 2308 §5 for an SOA record
 * that says how long there is nothing).
 */
function fromCache({ answer, storedMs, freshUntilMs }: Entry, now: number, { maxTtlSec }: DnsSettings): Resolved {
  if (!isGood(answer)) return failed(answer.rcode)
  const ageSec = Math.floor((now - storedMs) / 1000)
  const mostSec = answer.records.counts[0] === 0 ? Math.ceil((freshUntilMs - storedMs) / 1000) : maxTtlSec
  return { source: 'cache', answer, ttlSec: (received) => Math.max(0, Math.min(received, mostSec) - ageSec) }
}
