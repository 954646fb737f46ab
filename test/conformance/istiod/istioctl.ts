/** Istio's own command line beside a test: `proxy-status` asks a running istiod, `proxy-config` reads a dump. Neither needs a cluster. */
import fs from 'node:fs'
import path from 'node:path'
import { systemClock } from '../../../agent/core/clock.ts'
import type { Identity } from '../../../agent/model/identity.ts'
import { istioCertificateAuthority } from '../../../control-sync/identity/ca-client.ts'
import { run, temporaryFolder, type Ended, type Finally } from '../programs.ts'
import { istioBinaries } from './binaries.ts'
import { ISTIOD_NAME, type Istiod } from './istiod.ts'

/** It wants a cluster's address before it looks at its other arguments; nothing listens there. */
const NO_CLUSTER = `apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
current-context: none
users: [{name: none, user: {}}]
`

export async function istioctl(t: Finally, args: readonly string[]): Promise<Ended> {
  const folder = temporaryFolder(t)
  fs.writeFileSync(path.join(folder, 'kubeconfig'), NO_CLUSTER)
  return run(istioBinaries().istioctl, ['--kubeconfig', path.join(folder, 'kubeconfig'), '--vklog=0', ...args], { cwd: folder, env: { HOME: folder } })
}

/** A certificate of this istiod for a workload that is not meshlet. */
export function certificateOf(istiod: Istiod, namespace: string, serviceAccount: string): Promise<Identity> {
  const authority = istioCertificateAuthority({
    addresses: [istiod.address], serverName: ISTIOD_NAME, clusterId: 'Kubernetes',
    roots: () => Buffer.from(istiod.ca.rootPem), token: () => istiod.token({ namespace, serviceAccount }),
  }, systemClock)
  return authority({ current: undefined, spiffeUri: `spiffe://cluster.local/ns/${namespace}/sa/${serviceAccount}`, ttlSec: 0, certificateRefused: false })
}

/** A folder with that certificate in Istio's file names. */
export async function certificateFolder(t: Finally, istiod: Istiod, namespace: string, serviceAccount: string): Promise<string> {
  const { keyPem, chainPem, rootsPem } = await certificateOf(istiod, namespace, serviceAccount)
  const folder = temporaryFolder(t)
  for (const [name, pem] of Object.entries({ 'key.pem': keyPem, 'cert-chain.pem': chainPem, 'root-cert.pem': rootsPem })) fs.writeFileSync(path.join(folder, name), pem, { mode: 0o600 })
  return folder
}

/** `istioctl proxy-status` of one istiod: it knows its clients by its own debug interface, for which one needs an identity of its namespace. */
export async function proxyStatus(t: Finally, istiod: Istiod): Promise<Ended> {
  const folder = await certificateFolder(t, istiod, 'istio-system', 'default')
  return istioctl(t, ['proxy-status', '--xds-address', istiod.address, '--cert-dir', folder, '--authority', ISTIOD_NAME, '--insecure', '-v', '1'])
}
