/** istio.networking.nds.v1.NameTable and istio.mesh.v1alpha1.ProxyConfig. */
import { ipBytes } from '../../agent/model/ip.ts'
import type { ProxyConfig as XProxyConfig } from '../proto/gen/istio/mesh/v1alpha1/proxy_pb.ts'
import type { NameTable } from '../proto/gen/istio/networking/nds/v1/nds_pb.ts'
import type { At } from './at.ts'

/** Lower-case host name without a trailing dot → addresses. Kubernetes services also have their `name.namespace` and `name.namespace.svc`. */
export type Names = ReadonlyMap<string, readonly string[]>

export function names(at: At, from: NameTable): Names {
  const table = new Map<string, readonly string[]>()
  const short: [string, readonly string[]][] = []
  for (const [host, info] of Object.entries(from.table)) {
    const ips = info.ips.filter((ip) => ipBytes(ip))
    if (ips.length < info.ips.length) at.in('table').item(host).in('ips').ignore('not all are IP addresses')
    table.set(host.toLowerCase().replace(/\.$/, ''), ips)
    if (info.registry !== 'Kubernetes' || info.shortname === '' || info.namespace === '') continue
    for (const name of [`${info.shortname}.${info.namespace}`, `${info.shortname}.${info.namespace}.svc`]) short.push([name.toLowerCase(), ips])
  }
  // What the control plane names in full comes first.
  for (const [name, ips] of short) if (!table.has(name)) table.set(name, ips)
  return table
}

/** `caCertificatesPem`: further roots of the mesh (multi-root trust bundles). */
export type ProxyConfig = { readonly caCertificatesPem: readonly string[] }

export function proxyConfig(_at: At, from: XProxyConfig): ProxyConfig {
  return { caCertificatesPem: from.caCertificatesPem }
}
