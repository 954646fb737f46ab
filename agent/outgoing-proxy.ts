/** The environment's HTTP proxy, for connections of this node's own: bridges and the control plane. */
import { isLoopback } from '../model/browser.ts'
import type { EnvironmentProxy } from '../model/ip.ts'
import type { AgentConfig } from './config/schema.ts'
import type { AgentFacts } from './facts.ts'

/**
 * Undefined: there is none, or it is this very agent, whose listener would wait for the connection that goes through
 * it.
 * @throws MESH_CONFIG_INVALID
 */
export function findOutgoingProxy({
  config,
  facts,
}: {
  readonly config: Pick<AgentConfig, 'listeners'>
  readonly facts: Pick<AgentFacts, 'readEnvironmentProxy'>
}): EnvironmentProxy | undefined {
  const proxy = facts.readEnvironmentProxy?.()
  if (!proxy) return undefined
  const { host, port } = proxy.address
  const isHere = host === 'localhost' || isLoopback(host)
  const isOwn = isHere && config.listeners.some((one) => one.kind === 'http_proxy' && one.port === port)
  return isOwn ? undefined : proxy
}
