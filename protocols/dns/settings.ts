import type { Address } from '../../core/os/network.ts'

/** agent.yaml `dns`: see docs/configuration.md. */
export type DnsSettings = {
  readonly address: string
  readonly port: number
  /** Undefined = those that `resolvConf` names; none = the mesh's names and no others. */
  readonly upstreams?: readonly Address[] | undefined
  readonly resolvConf: string
  /** Domains that resolvers put behind short names. Undefined = those that `resolvConf` names. */
  readonly search?: readonly string[] | undefined
  /** Without a name table: so long every name waits for the first (protocols/dns/names/first-table.ts). */
  readonly firstTableMs: number
  /** One try at one upstream resolver. */
  readonly attemptMs: number
  readonly maxInFlight: number
  readonly maxCacheEntries: number
  readonly maxCacheBytes: number
  readonly maxTtlSec: number
  readonly maxNegativeTtlSec: number
  /** How long beyond its time an answer is given when no upstream resolver answers; 0 = never. */
  readonly maxStaleSec: number
  /** Answers are written to disk at most so often while the proxy runs, and when it stops; 0 = never. */
  readonly storeEveryMs: number
  readonly maxStoredBytes: number
  readonly maxTcpConnections: number
  readonly tcpIdleMs: number
}
