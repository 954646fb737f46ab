import { createRequire } from 'node:module'
import path from 'node:path'
import type * as Dns from '../protocols/dns/proxy.ts'
import type { Context } from '../protocols/context.ts'
import type { AgentConfig } from './config/schema.ts'
import type { Configuration } from './configuration/configuration.ts'
import type { Disk } from '../core/os/disk.ts'
import { readSealer } from './control-sync-settings.ts'
import type { OwnNode } from './own-node.ts'
import { findAddresses } from './config/hosts-file.ts'
import { createResolve, type Resolve } from '../protocols/upstream/discovery/dns.ts'

export type AgentDnsOptions = {
  readonly config: AgentConfig
  readonly ctx: Context
  readonly disk: Disk
  readonly node: OwnNode
  readonly configuration: Configuration
}

/** Undefined without a `dns` section. Never rejects: ports that cannot be had are tried again. */
export async function startAgentDns({
  config,
  ctx,
  disk,
  node,
  configuration,
}: AgentDnsOptions): Promise<Dns.DnsProxy | undefined> {
  if (!config.dns) return undefined
  // Loaded only where it is wanted: most devices are asked over http_proxy and need no names.
  const { startDns } = createRequire(import.meta.url)('../protocols/dns/proxy.ts') as typeof Dns
  const { namespace } = config.node
  return startDns({
    ...ctx,
    disk,
    settings: config.dns,
    namespace,
    // The node's id ends in NAMESPACE.DOMAIN.
    domain: node.description.id.slice(node.description.id.lastIndexOf('~') + 1).slice(namespace.length + 1),
    awaited() {
      const { heard, stale } = configuration.applier
      if (heard.has('nameTable')) return 'nothing'
      return !stale && heard.has('cluster') && heard.has('listener') ? 'names' : 'everything'
    },
    store: { file: path.join(config.state, 'dns-answers'), sealer: () => readSealer(config, disk) },
    outside: new Set(config.control?.address.map(hostOf)),
  })
}

function hostOf(hostPort: string): string {
  return hostPort
    .replace(/:\d+$/, '')
    .replace(/^\[|\]$/g, '')
    .toLowerCase()
}

const HOSTS_FILE = '/etc/hosts'

/** Names of endpoints: `dns.upstreams` are asked, not the system, whose resolver may be our own DNS proxy. */
export function selectResolve({ dns }: Pick<AgentConfig, 'dns'>, disk: Pick<Disk, 'read'>): Resolve | undefined {
  const { upstreams = [], attemptMs: timeoutMs = 0 } = dns ?? {}
  if (upstreams.length === 0) return undefined
  const findHost = (name: string): readonly string[] => findAddresses(name, disk.read(HOSTS_FILE)?.toString() ?? '')
  return createResolve(upstreams, { timeoutMs, findHost })
}
