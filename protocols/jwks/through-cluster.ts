/** An issuer's keys through a cluster of the mesh (remote_jwks), whose TLS proves the server. */
import { computeBackoffMs, type Clock, type Random, type Timer } from '../../core/os/clock.ts'
import { guard } from '../../core/defects/guard.ts'
import { MeshError, toMeshError } from '../../core/errors.ts'
import { MAX_JWKS_BYTES } from '../../core/jwt/jwks.ts'
import type { Cluster } from '../../model/cluster.ts'
import type { RemoteJwks } from '../../model/http/jwt.ts'
import type { HttpUpstreams } from '../http/message.ts'
import type { Arrival } from './arrivals.ts'
import { OwnCall, type OwnCallEnd } from '../http/own-call.ts'

export type ThroughCluster = {
  readonly upstreams: HttpUpstreams
  readonly findCluster: (name: string) => Cluster | undefined
  readonly clock: Clock
  readonly random: Random
  readonly arrival: Arrival
}

/** Redirects are not followed. Rejects with what went wrong, at most after `timeoutMs`. */
export function readThroughCluster(remote: RemoteJwks, o: ThroughCluster): Promise<string> {
  return new Promise((resolve, reject) => new Reading(remote, o, { resolve, reject }).start())
}

type Settle = { readonly resolve: (text: string) => void; readonly reject: (error: MeshError) => void }

class Reading {
  readonly #remote: RemoteJwks
  readonly #o: ThroughCluster
  readonly #settle: Settle
  #tries = 0
  #call: OwnCall | undefined
  #late: Timer | undefined
  #pause: Timer | undefined

  constructor(remote: RemoteJwks, o: ThroughCluster, settle: Settle) {
    this.#remote = remote
    this.#o = o
    this.#settle = settle
  }

  start(): void {
    const { timeoutMs } = this.#remote
    const { signal } = this.#o.arrival
    const givenUp = guard(
      'network',
      (e) => this.#fail(e),
      () => this.#fail(toMeshError(signal.reason)),
    )
    signal.addEventListener('abort', givenUp, { once: true })
    const late = (): void => this.#fail(new MeshError('MESH_UPSTREAM_TIMEOUT', `no answer within ${timeoutMs} ms`))
    this.#late = this.#o.clock.after(
      timeoutMs,
      guard('network', (error) => this.#fail(error), late),
    )
    this.#try(false)
  }

  #try(fresh: boolean): void {
    const { cluster: name, scheme, authority, path } = this.#remote
    const cluster = this.#o.findCluster(name)
    if (!cluster) {
      this.#fail(new MeshError('MESH_NO_CLUSTER', `its cluster ${name} is unknown`))
      return
    }
    const head = { ...BODILESS, method: 'GET', scheme, authority, path, headers: [] }
    const options = { speaks: 'http1', fresh, host: authority, maxHostPicks: 3, ...KEPT } as const
    const onOver = (end: OwnCallEnd): void => this.#over(end)
    const onKept = (bytes: number): void => this.#o.arrival.set(bytes)
    this.#call = new OwnCall('', { head, body: [] }, options, { onOver, onKept })
    this.#call.start(this.#o.upstreams, this.#o.clock, cluster)
  }

  #over(end: OwnCallEnd): void {
    switch (end.kind) {
      case 'answered': {
        const { status } = end.answer.head
        if (status === 200) this.#done(end.answer.bytes.toString('utf8'))
        else {
          const error = new MeshError('MESH_UPSTREAM_PROTOCOL', `the status is ${status}`)
          if (status >= 500) this.#repeat(error)
          else this.#fail(error)
        }
        return
      }
      case 'moved':
        this.#try(true)
        return
      case 'failed':
        // The connection came from the pool and was closed: that is no try.
        if (end.mayRepeat) this.#try(true)
        else this.#repeat(end.error)
        return
      case 'too-large':
        this.#fail(new MeshError('MESH_UPSTREAM_PROTOCOL', `the document is larger than ${KEPT.maxAnswerBytes} bytes`))
        return
      case 'upgraded':
        this.#fail(new MeshError('MESH_UPSTREAM_PROTOCOL', 'the server switched protocols without being asked'))
        return
      case 'late':
        // Not told: the time is that of all tries together.
        return
      default:
        end satisfies never
    }
  }

  /** After a pause, unless that was the last try. */
  #repeat(error: MeshError): void {
    this.#o.arrival.set(0)
    const { retries, backoff } = this.#remote
    if (this.#tries >= retries) {
      this.#fail(error)
      return
    }
    const pauseMs = computeBackoffMs(this.#tries++, backoff, this.#o.random)
    this.#pause = this.#o.clock.after(
      pauseMs,
      guard(
        'network',
        (e) => this.#fail(e),
        () => this.#try(false),
      ),
    )
  }

  #done(text: string): void {
    this.#end()
    this.#settle.resolve(text)
  }
  #fail(error: MeshError): void {
    this.#end()
    this.#settle.reject(error)
  }
  #end(): void {
    this.#late?.cancel()
    this.#pause?.cancel()
    this.#call?.cancel()
  }
}
const BODILESS = { bodyLength: 0, maybeTrailers: false, upgrade: undefined } as const
const KEPT = { maxAnswerBytes: MAX_JWKS_BYTES, keepsAnswer: true }
