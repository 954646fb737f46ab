/** The connection's part of every request on it, worked out once: who the client is, for policies, headers and logs. */
import { deriveSource } from '../../../core/ip-source.ts'
import type { Random } from '../../../core/os/clock.ts'
import type { HttpConnectionManager } from '../../../model/listener.ts'
import { HttpReporter } from '../../telemetry/http.ts'
import { getTelemetry } from '../../telemetry/telemetry.ts'
import type { Connection } from '../../connection.ts'
import type { Context } from '../../context.ts'
import type { ClientAddress } from '../filters/forwarded.ts'
import type { ClientFacts } from '../filters/policy-facts.ts'
import { formatXfccElement } from '../filters/xfcc.ts'

export class RequestOrigin implements ClientAddress {
  readonly conn: Connection
  readonly directIp: string
  /** One client as limits count them. */
  readonly source: string
  readonly scheme: 'http' | 'https'
  readonly #ctx: Context
  readonly #direct: ClientFacts
  #reporter: HttpReporter | undefined
  #element: string | undefined
  #elementFor:
    | { readonly details: HttpConnectionManager['clientCertDetails']; readonly ownUri: string | undefined }
    | undefined

  constructor(conn: Connection, ctx: Context) {
    this.conn = conn
    this.#ctx = ctx
    this.directIp = conn.remote.host
    this.source = deriveSource(conn.remote.host)
    this.scheme = conn.tls ? 'https' : 'http'
    this.#direct = {
      peer: conn.tls?.peer,
      directRemoteIp: conn.remote.host,
      remoteIp: conn.remote.host,
      destinationIp: conn.local.host,
      destinationPort: conn.local.port,
      serverName: conn.tls?.serverName ?? conn.offered.serverName,
    }
  }

  /** Made at the first request that is counted in istio_* metrics. */
  get reporter(): HttpReporter {
    return (this.#reporter ??= new HttpReporter(getTelemetry(this.#ctx)))
  }
  get random(): Random {
    return this.#ctx.random
  }
  /** Of our own certificate; undefined until there is one. */
  get ownPrincipal(): string | undefined {
    return this.#ctx.identity.current()?.spiffeId.uri
  }

  /** @param remoteIp the client as trusted hops tell it */
  facts(remoteIp: string): ClientFacts {
    return remoteIp === this.directIp ? this.#direct : { ...this.#direct, remoteIp }
  }

  /** Undefined without a client certificate. Made again only when the settings or the own identity changed. */
  get xfccElement(): string | undefined {
    const peer = this.conn.tls?.peer
    const { codec } = this.conn.chain
    if (!peer || codec.kind !== 'http') return undefined
    const details = codec.http.clientCertDetails
    const ownUri = this.#ctx.identity.current()?.spiffeId.uri
    const made = this.#elementFor
    if (!made || made.details !== details || made.ownUri !== ownUri) {
      this.#elementFor = { details, ownUri }
      this.#element = formatXfccElement(details, peer, ownUri)
    }
    return this.#element
  }
}
