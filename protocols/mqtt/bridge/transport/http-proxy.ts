/** The HTTP proxy that a bridge goes out through: its own, else that of the environment. */
import type { EnvironmentProxy } from '../../../../model/ip.ts'
import { asHttpProxy } from '../../../http/connect-proxy.ts'
import type { HttpProxy } from '../../../upstream-api.ts'
import type { SessionPlan } from '../plan.ts'

export type ProxySources = {
  /** What a file holds. Throws when there is none. */
  readonly readFile: ((file: string) => string) | undefined
  /** Throws what is wrong with it. */
  readonly readEnvironmentProxy: () => EnvironmentProxy | undefined
}

/** @throws MESH_CONFIG_INVALID for an environment that names no proxy that can be used */
export function findProxy(
  { settings: { httpProxy } }: Pick<SessionPlan, 'settings'>,
  { readFile, readEnvironmentProxy }: ProxySources,
): HttpProxy | undefined {
  if (!httpProxy) {
    const found = readEnvironmentProxy()
    return found && asHttpProxy(found)
  }
  const { host, port, credentialsFile, noProxy } = httpProxy
  return {
    address: { host, port },
    readCredentials:
      credentialsFile === undefined || readFile === undefined ? undefined : () => readFile(credentialsFile),
    noProxy,
  }
}
