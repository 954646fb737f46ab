/** agent.yaml: text → AgentConfig, or every mistake at once with its line. */
import { loadYaml, type LoadedYaml } from '../core/yaml-problems.ts'
import { agentConfigSchema, type AgentConfig } from './schema.ts'

export { configError, type ConfigProblem } from '../core/yaml-problems.ts'
export type LoadedConfig = LoadedYaml<AgentConfig>

export const loadConfig = (text: string): LoadedConfig => loadYaml(agentConfigSchema, text, 'see the reference in docs/configuration.md')
