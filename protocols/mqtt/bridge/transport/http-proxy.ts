/** The HTTP proxy that a bridge goes out through. */
import type { HttpProxy } from '../../../upstream-api.ts'
import type { SessionPlan } from '../plan.ts'

export function findProxy(
  { settings: { httpProxy } }: Pick<SessionPlan, 'settings'>,
  readFile: ((file: string) => string) | undefined,
): HttpProxy | undefined {
  if (!httpProxy) return undefined
  const { host, port, credentialsFile, noProxy } = httpProxy
  return {
    address: { host, port },
    readCredentials:
      credentialsFile === undefined || readFile === undefined ? undefined : () => readFile(credentialsFile),
    noProxy,
  }
}
