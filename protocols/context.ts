import type { Clock, Random } from '../core/os/clock.ts'
import type { Current } from '../core/current.ts'
import type { KeySource } from '../core/jwt/key-source.ts'
import type { JwtTime } from '../core/jwt/verify.ts'
import type { Log } from '../core/log.ts'
import type { MemoryBudget } from '../core/runtime/memory-budget.ts'
import type { Metrics } from '../core/metrics.ts'
import type { NamedFiles } from '../core/os/named-files.ts'
import type { Network } from '../core/os/network.ts'
import type { IdentitySource } from '../model/identity.ts'
import type { RemoteJwks } from '../model/http/jwt.ts'
import type { Tables } from '../model/tables.ts'
import type { AccessLogOutput } from '../model/access-log/access-log.ts'
import type { TelemetrySettings } from '../model/telemetry.ts'
import type { ExportOutput } from '../model/access-log/collector.ts'

/** What every step of the data path may use. Made once by data-path.ts. */
export type Context = {
  readonly clock: Clock
  readonly random: Random
  readonly network: Network
  readonly log: Log
  readonly metrics: Metrics
  readonly tables: Current<Tables>
  readonly identity: IdentitySource
  readonly limits: Limits
  /** Of everything that waits in memory. Left out: unlimited. */
  readonly budget?: MemoryBudget
  /** Of this machine, for TLS settings that name some. Left out: such settings refuse. */
  readonly files?: NamedFiles
  /** Who we are in istio_* metrics. Left out: nobody. */
  readonly telemetry?: TelemetrySettings
  /** agent.yaml `retryUnsafe`; routes may say otherwise. Absent = no. */
  readonly retriesUnsafe?: boolean
  /** Where lines of access logs go. Left out: nowhere. */
  readonly accessLogs?: AccessLogOutput
  /** Takes spans and entries of access logs to collectors. Left out: nobody does. */
  readonly exports?: ExportOutput
  /** While the link is down nobody reports endpoints that are gone, so their failures have to show it. Absent = never. */
  readonly isLinkDown?: () => boolean
  /** By which clock tokens are judged; left out: the wall clock. */
  readonly tokenTime?: () => JwtTime
  /** Keys of issuers that configurations in force name. Left out: nobody fetches any. */
  readonly remoteKeys?: { find(of: RemoteJwks): KeySource | undefined }
}

/** agent.yaml `limits`. Every one of them has a counter that says how often it was met. */
export type Limits = {
  /** Per listener. */
  readonly maxConnections: number
  /** Of all listeners. */
  readonly maxConnectionsTotal: number
  /** Per IPv4 address or IPv6 /64, over all listeners. */
  readonly maxConnectionsPerSource: number
  readonly maxHeaderBytes: number
  readonly maxHeaderCount: number
  /** Request bytes kept so that a try can be repeated. */
  readonly maxReplayBytes: number
  /** What may wait for a peer that takes it slowly, per connection and direction, before no more is read for it. */
  readonly maxBufferBytes: number
  readonly idleMs: number
  readonly requestHeadMs: number
  readonly tlsHandshakeMs: number
  readonly drainMs: number
  readonly maxHttp2Streams: number
}

export const DEFAULT_LIMITS: Limits = {
  maxConnections: 10_000,
  maxConnectionsTotal: 10_000,
  maxConnectionsPerSource: 5_000,
  maxHeaderBytes: 60 * 1024,
  maxHeaderCount: 100,
  maxReplayBytes: 64 * 1024,
  maxBufferBytes: 64 * 1024,
  idleMs: 3_600_000,
  requestHeadMs: 60_000,
  tlsHandshakeMs: 10_000,
  drainMs: 30_000,
  maxHttp2Streams: 100,
}
