/** Certificates of servers outside of the mesh, and files of them that an agent may read. */
import fs from 'node:fs'
import path from 'node:path'
import { testCa } from '../../../../helpers/test-ca.ts'
import { temporaryFolder, type Finally } from '../../../programs.ts'

/** Names in the servers' certificate. */
export const EXTERNAL_NAMES = ['external.test', 'www.wild.test', 'other.wild.test']

export type ExternalTls = {
  readonly server: { readonly key: string; readonly cert: string; readonly ca: string }
  readonly client: ExternalTls['server']
  /** For everybody to read: root.pem, and chains and keys of client and server. */
  readonly folder: string
}

export function makeExternalTls(t: Finally): ExternalTls {
  const ca = testCa('external.test')
  const server = ca.issue('outside', 'server', { dnsNames: EXTERNAL_NAMES })
  const client = ca.issue('outside', 'client', { dnsNames: ['client.test'] })
  const folder = temporaryFolder(t, 0o755)
  for (const [name, pem] of Object.entries({
    'root.pem': ca.rootsPem,
    'client-chain.pem': client.chainPem,
    'client-key.pem': client.keyPem,
    'server-chain.pem': server.chainPem,
    'server-key.pem': server.keyPem,
  }))
    fs.writeFileSync(path.join(folder, name), pem, { mode: 0o644 })
  const withRoots = ({ keyPem, chainPem }: typeof server): ExternalTls['server'] => ({
    key: keyPem,
    cert: chainPem,
    ca: ca.rootsPem,
  })
  return { server: withRoots(server), client: withRoots(client), folder }
}
