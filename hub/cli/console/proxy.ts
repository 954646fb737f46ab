/** HTTPS_PROXY and NO_PROXY of the environment, on the way to a hub on another machine. */
import { isDirect, type EnvironmentProxy } from '../../../model/ip.ts'

/** Throws MESH_CONFIG_INVALID. */
export type ReadProxy = () => EnvironmentProxy | undefined

/** For `https.Agent`, which asks the proxy by CONNECT; nothing: the hub is reached directly. Throws as `read`. */
export function findProxyFor(hub: URL, read: ReadProxy | undefined): { readonly proxyEnv?: NodeJS.ProcessEnv } {
  const proxy = read?.()
  const target = { host: hub.hostname.replace(/^\[|\]$/g, ''), port: Number(hub.port || 443) }
  if (!proxy || isDirect(proxy.noProxy, target)) return {}
  const { host, port } = proxy.address
  const url = new URL(`http://${host.includes(':') ? `[${host}]` : host}:${port}`)
  const [user = '', ...password] = proxy.credentials?.split(':') ?? []
  url.username = encodeURIComponent(user)
  url.password = encodeURIComponent(password.join(':'))
  return { proxyEnv: { HTTPS_PROXY: url.href } }
}
