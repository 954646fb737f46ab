/** Resource files as an operator writes them. */
import { createHash } from 'node:crypto'
import { listOwnMessages } from '../../../control-sync/directory/known.ts'
import { parseFile } from '../../../control-sync/directory/parse.ts'
import type { RevisionFile } from '../../../hub/source/folder.ts'
import { CLUSTER, ROUTE } from '../../../hub/source/resources.ts'

export const makeCluster = (name: string, timeout = '2s'): string =>
  `resources:\n- "@type": ${CLUSTER}\n  name: ${name}\n  type: EDS\n  connect_timeout: ${timeout}\n  eds_cluster_config: {service_name: "${name}-endpoints", eds_config: {ads: {}}}\n`

export const makeRoutes = (name: string, cluster: string): string =>
  `resources:\n- "@type": ${ROUTE}\n  name: ${name}\n  virtual_hosts:\n  - {name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: ${cluster}}}]}\n`

/** Files as the folder's reader gives them: of each the names of its clusters, with a timeout. */
export function readFiles(files: Readonly<Record<string, readonly (readonly [name: string, timeout?: string])[]>>) {
  return Object.entries(files).map(([path, clusters]): RevisionFile => {
    const text = clusters.map(([name, timeout], i) => makeCluster(name, timeout).slice(i === 0 ? 0 : HEAD)).join('')
    const content = parseFile(path, text, () => undefined, listOwnMessages())
    return { path, hash: createHash('sha256').update(text).digest('hex'), content }
  })
}
const HEAD = 'resources:\n'.length
