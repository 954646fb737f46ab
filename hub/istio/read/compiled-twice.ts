/** Resources of Envoy that stand beside the Istio YAML that is compiled to the same: which one is meant? */
import type { Resources } from '../../../control-sync/directory/combine.ts'
import type { FileProblem, FileResource } from '../../../control-sync/directory/parse.ts'
import { resolveHost, type Config } from '../config.ts'
import { DEFAULT_MESH } from '../mesh/mesh.ts'
import { unpackConfig } from '../stored.ts'

/** outbound|PORT|SUBSET|HOST */
const COMPILED = /^outbound\|(\d+)\|([^|]*)\|(.+)$/

/**
 * Of one folder. In a folder of labels or of a device a resource of Envoy wins over what is compiled of the YAML above,
 * as does any that no object of the YAML has the name of (a listener, a route).
 */
export function findCompiledTwice(resources: Resources): FileProblem[] {
  const raw = (['cluster', 'endpoint'] as const).flatMap((kind) => [...(resources.get(kind)?.values() ?? [])])
  const candidates = raw.filter(({ name }) => COMPILED.test(name))
  const istio = [...(resources.get('istio')?.values() ?? [])]
  if (candidates.length === 0 || istio.length === 0) return []
  const sources = findSources(istio)
  return candidates.flatMap((resource) => {
    const source = sources.get(`${resource.kind} ${resource.name}`)
    return source ? [tell(resource, source)] : []
  })
}

function tell({ file, line, kind, name }: FileResource, source: FileResource): FileProblem {
  return {
    file,
    line,
    resource: `${kind} "${name}"`,
    field: 'name',
    problem: `${source.file} line ${source.line}, ${source.name}, is compiled to it; to replace that, put it into a folder of labels or of a device`,
  }
}

/** Kind and name of what is compiled → the ServiceEntry, or the DestinationRule of its subset. */
function findSources(istio: readonly FileResource[]): ReadonlyMap<string, FileResource> {
  const configs = istio.map((from) => ({ from, config: unpackConfig(from.value) }))
  const subsets = new Map<string, (readonly [subset: string, from: FileResource])[]>()
  for (const { from, config } of configs) {
    if (!isOf(config, 'DestinationRule')) continue
    const host = resolveHost(config.spec.host, config.namespace, DEFAULT_MESH.domain)
    const named = (config.spec.subsets ?? []).map(({ name }) => [name, from] as const)
    subsets.set(host, [...(subsets.get(host) ?? []), ...named])
  }
  const found = new Map<string, FileResource>()
  for (const { from, config } of configs) {
    if (!isOf(config, 'ServiceEntry')) continue
    const { hosts, ports = [], resolution = 'NONE' } = config.spec
    for (const host of hosts)
      for (const { number } of ports)
        for (const [subset, source] of [['', from] as const, ...(subsets.get(host) ?? [])]) {
          const name = `outbound|${number}|${subset}|${host}`
          found.set(`cluster ${name}`, source)
          if (resolution === 'STATIC') found.set(`endpoint ${name}`, source)
        }
  }
  return found
}

function isOf<K extends Config['kind']>(config: Config, kind: K): config is Config<K> {
  return config.kind === kind
}
