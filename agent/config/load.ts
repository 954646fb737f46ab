/** agent.yaml: text → AgentConfig, or every mistake at once with its line. */
import { loadYaml, type Layers, type LoadedYaml } from '../../core/yaml.ts'
import { createAgentConfigSchema, type AgentConfig } from './schema.ts'

export { toConfigError as configError, type ConfigProblem } from '../../core/yaml.ts'
export type LoadedConfig = LoadedYaml<AgentConfig>

/** @param layers what stands beneath and above the file: Istio's files, the environment */
export const loadConfig = (text: string, layers?: Layers): LoadedConfig =>
  loadYaml(createAgentConfigSchema(), text, 'see the reference in docs/configuration.md', layers)
