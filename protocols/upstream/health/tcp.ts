/** A host that can be connected to, and answers what is said to it with what is expected. */
import type { Duplex } from 'node:stream'
import { MeshError } from '../../../core/errors.ts'
import { doNothing, guard } from '../../../core/defects/guard.ts'
import type { Cluster, Endpoint } from '../../../model/cluster.ts'
import type { HealthCheck, TcpAsk } from '../../../model/http/health-check.ts'
import type { Context } from '../../context.ts'
import { dial } from '../dial.ts'
import { containsInOrder, PASSED, type Asker } from './ask.ts'
import type { Verdict } from './progress.ts'

/** Of what a server says; only its end is looked at beyond. */
const MAX_RECEIVED_BYTES = 128 * 1024

export class TcpAsker implements Asker {
  readonly #ctx: Context
  readonly #cluster: Cluster
  readonly #endpoint: Endpoint
  readonly #asks: TcpAsk
  readonly #reuses: boolean
  /** From the last question. */
  #idle: Duplex | undefined

  /** @param cluster and @param endpoint as they are asked (ask.ts) */
  constructor(ctx: Context, cluster: Cluster, endpoint: Endpoint, check: HealthCheck & { readonly asks: TcpAsk }) {
    this.#ctx = ctx
    this.#cluster = cluster
    this.#endpoint = endpoint
    this.#asks = check.asks
    this.#reuses = check.reusesConnection
  }

  async ask(signal: AbortSignal): Promise<Verdict> {
    const { receive } = this.#asks
    const stream = this.#takeIdle() ?? (await this.#dial(signal))
    let isKept = false
    try {
      if (this.#asks.send.length > 0) stream.write(this.#asks.send)
      if (receive.length === 0) return PASSED
      await this.#await(stream, signal)
      isKept = this.#reuses && !stream.destroyed
      return PASSED
    } finally {
      if (isKept) this.#keep(stream)
      else stream.destroy()
    }
  }
  [Symbol.dispose](): void {
    this.#idle?.destroy()
  }

  async #dial(signal: AbortSignal): Promise<Duplex> {
    const { address, port } = this.#endpoint
    const host = this.#endpoint.check?.hostname
    const { stream } = await dial(this.#ctx, this.#cluster, this.#endpoint, {
      address,
      port,
      speaks: 'tcp',
      host,
      signal,
    })
    return stream
  }
  #takeIdle(): Duplex | undefined {
    const idle = this.#idle
    this.#idle = undefined
    return idle?.destroyed ? undefined : idle
  }
  #keep(stream: Duplex): void {
    this.#idle = stream
    // What nobody asked for is no answer to the next question, and who has ended it will not answer over it.
    const over = guard('health', doNothing, () => {
      if (this.#idle === stream) stream.destroy()
    })
    stream.once('data', over).once('end', over).resume()
  }

  /** Rejects when it ends before, or the signal says so. */
  #await(stream: Duplex, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      let received = Buffer.alloc(0)
      const over = new AbortController()
      const settle = (settled: () => void): void => {
        over.abort()
        stream.off('data', onData).off('close', onClose).off('end', onClose)
        settled()
      }
      const onData = guard('health', reject, (chunk: Buffer) => {
        received = Buffer.concat([received, chunk]).subarray(-MAX_RECEIVED_BYTES)
        if (containsInOrder(received, this.#asks.receive)) settle(resolve)
      })
      const onClose = guard('health', reject, () => {
        settle(() => reject(new MeshError('MESH_PROBE_FAILED', 'the connection was closed before an answer')))
      })
      signal.addEventListener(
        'abort',
        guard('health', reject, () => settle(() => reject(signal.reason))),
        { once: true, signal: over.signal },
      )
      stream.on('data', onData).on('close', onClose).on('end', onClose)
      if (stream.destroyed) onClose()
    })
  }
}
