/**
 * Istio's own command line beside a test: `proxy-status` asks a running istiod, `proxy-config` reads a dump. Neither
 * needs a cluster.
 */
import { once } from 'node:events'
import fs from 'node:fs'
import http from 'node:http'
import type net from 'node:net'
import path from 'node:path'
import { systemClock } from '../../../../core/os/clock.ts'
import type { Identity } from '../../../../model/identity.ts'
import { createIstioCertificateAuthority } from '../../../../control-sync/identity/ca-client.ts'
import { run, temporaryFolder, type Ended, type Finally } from '../../programs.ts'
import { istioBinaries } from './binaries.ts'
import { ISTIOD_NAME, type Istiod } from './istiod.ts'

const kubeconfig = (server: string): string => `apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "${server}"}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
current-context: none
users: [{name: none, user: {}}]
`

/**
 * An API server with nothing in it: `proxy-status` looks for webhooks (revision tags) before it looks at its arguments,
 * and waits for ever for an answer. A streamed list (WatchList) is refused, as by a server that does not know it, so
 * that a plain one is asked for.
 */
async function emptyApiServer(t: Finally): Promise<string> {
  const server = http
    .createServer((req, res) => {
      const query = new URL(req.url ?? '', 'http://none').searchParams
      res.setHeader('content-type', 'application/json')
      if (query.has('sendInitialEvents'))
        res
          .writeHead(422)
          .end(JSON.stringify({ kind: 'Status', apiVersion: 'v1', status: 'Failure', reason: 'Invalid', code: 422 }))
      else if (query.get('watch') === 'true') res.flushHeaders()
      else
        res.end(
          JSON.stringify({
            kind: 'MutatingWebhookConfigurationList',
            apiVersion: 'admissionregistration.k8s.io/v1',
            metadata: { resourceVersion: '1' },
            items: [],
          }),
        )
    })
    .listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`
}

export async function istioctl(t: Finally, args: readonly string[]): Promise<Ended> {
  const folder = temporaryFolder(t)
  fs.writeFileSync(path.join(folder, 'kubeconfig'), kubeconfig(await emptyApiServer(t)))
  return run(istioBinaries().istioctl, ['--kubeconfig', path.join(folder, 'kubeconfig'), ...args], {
    cwd: folder,
    env: { HOME: folder },
  })
}

/** A certificate of this istiod for a workload that is not meshlet. */
export async function certificateOf(istiod: Istiod, namespace: string, serviceAccount: string): Promise<Identity> {
  const authority = createIstioCertificateAuthority(
    {
      addresses: [istiod.address],
      serverName: ISTIOD_NAME,
      clusterId: 'Kubernetes',
      roots: () => Buffer.from(istiod.ca.rootPem),
      token: () => istiod.token({ namespace, serviceAccount }),
    },
    systemClock,
  )
  const { identity } = await authority({
    current: undefined,
    spiffeUri: `spiffe://cluster.local/ns/${namespace}/sa/${serviceAccount}`,
    ttlSec: 0,
    key: 'ecdsa-p256',
    certificateRefused: false,
  })
  return identity
}

/** A folder with that certificate in Istio's file names. */
export async function certificateFolder(
  t: Finally,
  istiod: Istiod,
  namespace: string,
  serviceAccount: string,
): Promise<string> {
  const { keyPem, chainPem, rootsPem } = await certificateOf(istiod, namespace, serviceAccount)
  const folder = temporaryFolder(t)
  for (const [name, pem] of Object.entries({
    'key.pem': keyPem,
    'cert-chain.pem': chainPem,
    'root-cert.pem': rootsPem,
  }))
    fs.writeFileSync(path.join(folder, name), pem, { mode: 0o600 })
  return folder
}

/**
 * `istioctl proxy-status` of one istiod: it knows its clients by its own debug interface, for which one needs an
 * identity of its namespace.
 */
export async function proxyStatus(t: Finally, istiod: Istiod): Promise<Ended> {
  const folder = await certificateFolder(t, istiod, 'istio-system', 'default')
  return istioctl(t, [
    'proxy-status',
    '--xds-address',
    istiod.address,
    '--cert-dir',
    folder,
    '--authority',
    ISTIOD_NAME,
    '-v',
    '1',
  ])
}
