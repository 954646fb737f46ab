/** The codec's side of a stream that was just opened. */
import { createRequire } from 'node:module'
import type { Dialed } from './dial.ts'
import { H1Connection } from './h1-client.ts'
import type * as H2 from './h2-client.ts'
import type { HostPool, PooledConnection, PoolKind } from './pool.ts'

let h2: typeof H2 | undefined

/** An endpoint that settled on HTTP/1.1 gets that, whatever the cluster's protocol. */
export function openConnection(pool: HostPool, dialed: Dialed, speaks: PoolKind['speaks']): PooledConnection {
  const { alpn } = dialed
  if (speaks === 'http1' || alpn === 'http/1.1' || alpn === 'istio-http/1.1') return new H1Connection(pool, dialed)
  // Loaded at the first use: 0.4 MiB that a device without HTTP/2 does without.
  h2 ??= createRequire(import.meta.url)('./h2-client.ts') as typeof H2
  return new h2.H2Connection(pool, dialed)
}
