/** The traffic policy of one port or subset (networking/util GetPortLevelTrafficPolicy, MergeSubsetTrafficPolicy). */
import type { DestinationRule, TrafficPolicy } from '../kinds/destination-rule.ts'

/** What is said for a port replaces what is said for all. */
export function selectPort(
  policy: TrafficPolicy | undefined,
  port: number,
): { readonly policy: TrafficPolicy | undefined; readonly isOfPort: boolean } {
  const own = policy?.portLevelSettings?.find((s) => s.port.number === port)
  if (!own) return { policy, isOfPort: false }
  const { port: _, ...settings } = own
  return { policy: settings, isOfPort: true }
}

export function mergeSubset(
  policy: TrafficPolicy | undefined,
  ofSubset: TrafficPolicy | undefined,
  port: number,
): TrafficPolicy | undefined {
  const general = selectPort(policy, port).policy
  if (!ofSubset) return general
  const { policy: own, isOfPort } = selectPort(ofSubset, port)
  if (!general || !own) return own
  return {
    ...general,
    connectionPool: own.connectionPool ?? (isOfPort ? undefined : general.connectionPool),
    outlierDetection: own.outlierDetection ?? (isOfPort ? undefined : general.outlierDetection),
    loadBalancer: own.loadBalancer ?? (isOfPort ? undefined : general.loadBalancer),
    tls: own.tls ?? (isOfPort ? undefined : general.tls),
    tunnel: own.tunnel ?? general.tunnel,
    proxyProtocol: own.proxyProtocol ?? general.proxyProtocol,
    retryBudget: own.retryBudget ?? general.retryBudget,
  }
}

export function selectSubset(
  rule: DestinationRule | undefined,
  subset: string,
): NonNullable<DestinationRule['subsets']>[number] | undefined {
  return subset === '' ? undefined : rule?.subsets?.find((s) => s.name === subset)
}
