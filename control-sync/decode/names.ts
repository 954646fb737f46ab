/** istio.networking.nds.v1.NameTable and istio.mesh.v1alpha1.ProxyConfig. */
import { X509Certificate } from 'node:crypto'
import { parseCrls } from '../../core/pki/x509.ts'
import { ipBytes } from '../../model/ip.ts'
import type { NamedHost, Names } from '../../model/tables.ts'
import type { ProxyConfig as XProxyConfig } from '../../proto/gen/istio/mesh/v1alpha1/proxy_pb.ts'
import type { NameTable } from '../../proto/gen/istio/networking/nds/v1/nds_pb.ts'
import type { DecodePath } from './fields/decode-path.ts'

export function decodeNames(at: DecodePath, from: NameTable): Names {
  const table = new Map<string, NamedHost>()
  for (const [host, info] of Object.entries(from.table)) {
    const addresses = info.ips.filter((ip) => ipBytes(ip))
    if (addresses.length < info.ips.length) at.in('table').item(host).in('ips').ignore('not all are IP addresses')
    const isService = info.registry === 'Kubernetes' && info.shortname !== '' && info.namespace !== ''
    add(table, plainName(host), {
      addresses,
      service: isService ? { name: info.shortname.toLowerCase(), namespace: info.namespace.toLowerCase() } : undefined,
    })
  }
  return table
}

/**
 * One table of several. istiod sends one, without a name, and Istio's agent takes the first of a push and passes over
 * the rest; xDS lets a server have as many as it likes.
 */
export function uniteTables(tables: readonly Names[]): Names {
  const all = new Map<string, NamedHost>()
  for (const table of tables) for (const [name, host] of table) add(all, name, host)
  return all
}

/**
 * A name said twice: a Kubernetes service goes before what others say of it, and others go together (istio
 * pkg/dns/server BuildNameTable).
 */
function add(table: Map<string, NamedHost>, name: string, host: NamedHost): void {
  const before = table.get(name)
  if (!before || (host.service && !before.service)) table.set(name, host)
  else if (!before.service)
    table.set(name, { addresses: [...new Set([...before.addresses, ...host.addresses])], service: undefined })
}

function plainName(host: string): string {
  return host.toLowerCase().replace(/\.$/, '')
}

/**
 * `caCertificatesPem`: further roots of the mesh (multi-root trust bundles), one certificate each. `revocationListsPem`:
 * what the hub has revoked; who has signed them is looked at when they are put in force.
 */
export type ProxyConfig = {
  readonly caCertificatesPem: readonly string[]
  readonly revocationListsPem: readonly string[]
}

/** No mesh has so many; each costs at every handshake. */
const MAX_ROOTS = 100
const MAX_LISTS = 16

export function decodeProxyConfig(
  at: DecodePath,
  { caCertificatesPem: pems, certificateRevocationListsPem: lists }: XProxyConfig,
): ProxyConfig {
  const here = at.in('ca_certificates_pem')
  if (pems.length > MAX_ROOTS) here.issue(`holds ${pems.length} certificates; at most ${MAX_ROOTS} are taken`)
  else for (const [i, pem] of pems.entries()) if (!isCertificate(pem)) here.item(i).issue('is no certificate')
  const there = at.in('certificate_revocation_lists_pem')
  if (lists.length > MAX_LISTS) there.issue(`holds ${lists.length} lists; at most ${MAX_LISTS} are taken`)
  else for (const [i, pem] of lists.entries()) if (!isRevocationList(pem)) there.item(i).issue('is no revocation list')
  return { caCertificatesPem: pems, revocationListsPem: lists }
}

function isRevocationList(pem: string): boolean {
  try {
    return parseCrls(pem).length === 1
  } catch {
    return false
  }
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).serialNumber !== ''
  } catch {
    return false
  }
}
