/** What every step of the data path may use, of this agent. */
import type { Context } from '../../protocols/context.ts'
import { RemoteKeys, type FetchRemote } from '../../protocols/jwks/remote-keys.ts'
import type { Exporter } from '../../protocols/telemetry/export/exporter.ts'
import { createAccessLogOutput } from './files.ts'
import type { Foundation } from './foundation.ts'
import type { Stored } from './stored.ts'
import { createExporter, readTelemetrySettings } from './telemetry.ts'
import { createTokenTime } from './token-time.ts'

/**
 * `exporter` sends nothing until it is connected, and `remoteKeys` has none until they are applied: that takes upstreams,
 * which are made with the context.
 */
export function createContext(
  f: Foundation,
  { identity, configuration, keySets }: Stored,
  fetchKeys: FetchRemote,
): { readonly ctx: Context; readonly exporter: Exporter; readonly remoteKeys: RemoteKeys } {
  const { clock, random, network } = f.world
  const { log, metrics, tables, limits, budget, files } = f
  const isLinkDown = (): boolean => !['connected', 'watching'].includes(configuration.link().state)
  const telemetry = readTelemetrySettings(f)
  const exporter = createExporter(f, telemetry)
  const remoteKeys = f.scope.own(new RemoteKeys(keySets, fetchKeys))
  const parts = { clock, random, network, log, metrics, tables, identity, limits, budget, files }
  const ctx = {
    ...parts,
    exports: exporter,
    telemetry,
    accessLogs: createAccessLogOutput(f),
    isLinkDown,
    remoteKeys,
    tokenTime: createTokenTime(identity, clock),
    retriesUnsafe: f.config.retryUnsafe,
  }
  return { ctx, exporter, remoteKeys }
}
