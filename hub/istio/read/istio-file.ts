/** A file of the hub's folder that holds Istio YAML, beside those that hold resources of Envoy. */
import type { OtherFiles } from '../../../control-sync/directory/read.ts'
import type { FileContent } from '../../../control-sync/directory/parse.ts'
import { nameStored, packConfig } from '../stored.ts'
import { isIstioYaml, readConfigs } from './read-configs.ts'

/** @returns undefined: it is no Istio YAML. Never throws. */
export function readIstioFile(file: string, text: string): FileContent | undefined {
  if (!isIstioYaml({ name: file, text })) return undefined
  const { configs, problems } = readConfigs({ name: file, text })
  const resources = configs.map((config) => ({
    kind: 'istio' as const,
    name: nameStored(config),
    value: packConfig(config),
    file,
    line: config.place.line,
  }))
  return { resources, problems }
}

export const ISTIO_FILES: OtherFiles = {
  owns: (name, text) => isIstioYaml({ name, text }),
  read: readIstioFile,
}
