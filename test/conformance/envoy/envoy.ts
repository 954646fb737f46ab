/** Envoy with a configuration of the test's own. */
import fs from 'node:fs'
import path from 'node:path'
import { envoyBinary } from '../peers.ts'
import { start, temporaryFolder, type Finally, type Running } from '../programs.ts'

/** As it stands in Envoy's own file: typed by its place, not by a name. */
export const untyped = (resource: object): object => ({ ...resource, '@type': undefined })

/** Starts Envoy with these resources; `port` is one that it must listen on. */
export async function startStaticEnvoy(
  t: Finally,
  resources: {
    readonly listeners: readonly object[]
    readonly clusters: readonly object[]
    readonly runtime?: object
    readonly admin?: object
  },
  port: number,
  more: readonly string[] = [],
): Promise<Running> {
  const file = path.join(temporaryFolder(t), 'envoy.json')
  const { listeners, clusters, runtime, admin } = resources
  const own = { listeners: listeners.map(untyped), clusters: clusters.map(untyped) }
  fs.writeFileSync(
    file,
    JSON.stringify({ static_resources: own, ...(admin && { admin }), ...(runtime && { layered_runtime: runtime }) }),
  )
  const envoy = start(t, envoyBinary(), [
    '-c',
    file,
    '--use-dynamic-base-id',
    '--concurrency',
    '1',
    '-l',
    'warning',
    ...more,
  ])
  await envoy.listening(port)
  return envoy
}
