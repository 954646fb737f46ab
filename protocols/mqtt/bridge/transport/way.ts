/** How a bridge gets to its broker, as its settings say. */
import { encodeProxyHeader } from '../../../proxy-header.ts'
import type { ConnectOptions } from '../../../upstream-api.ts'
import type { SessionPlan } from '../plan.ts'
import { findProxy, type ProxySources } from './http-proxy.ts'

/** @throws as findProxy */
export function describeWay(
  plan: Pick<SessionPlan, 'settings'>,
  sources: ProxySources,
): Pick<ConnectOptions, 'speaks' | 'through' | 'makeHeader'> {
  const { sendProxyProtocol } = plan.settings
  return {
    speaks: 'tcp',
    through: findProxy(plan, sources),
    makeHeader:
      sendProxyProtocol &&
      (({ local, remote }) => encodeProxyHeader(sendProxyProtocol, { source: local, destination: remote })),
  }
}
