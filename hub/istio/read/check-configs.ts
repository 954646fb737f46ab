/** What only shows when resources are looked at together. */
import type { Config, Problem } from '../config.ts'

function report(config: Config, field: string, problem: string): Problem {
  const { file, place, kind, namespace, name } = config
  return { file, ...place, resource: `${kind} ${namespace}/${name}`, field, problem }
}

/** Two of one name: which one is meant? */
export function findClashes(configs: readonly Config[]): Problem[] {
  const known = new Map<string, Config>()
  return configs.flatMap((config) => {
    const key = `${config.kind} ${config.namespace}/${config.name}`
    const other = known.get(key)
    if (other) return [report(config, 'metadata.name', `stands in ${other.file} line ${other.place.line} already`)]
    known.set(key, config)
    return []
  })
}
