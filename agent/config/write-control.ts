/** What `meshlet join` puts into agent.yaml: `control` and the node's names. Comments and everything else stay. */
import { parseDocument } from 'yaml'
import { MeshError } from '../../core/errors.ts'
import { listYamlMistakes } from '../../core/yaml.ts'

export type JoinedSettings = {
  readonly state: string
  readonly node: { readonly name: string; readonly namespace: string; readonly serviceAccount: string }
  readonly control: Readonly<Record<string, unknown>>
}

/** @param text of agent.yaml; empty: there is none yet. Throws MESH_CONFIG_INVALID for what is no YAML. */
export function writeControl(text: string, { state, node, control }: JoinedSettings): string {
  const document = parseDocument(text)
  const [mistake] = listYamlMistakes(document)
  if (mistake) throw new MeshError('MESH_CONFIG_INVALID', `agent.yaml: ${mistake.problem}`)
  if (!document.has('state')) document.set('state', state)
  for (const [key, value] of Object.entries(node)) document.setIn(['node', key], value)
  // A site that had a folder has a control plane now.
  document.delete('directory')
  document.set('control', document.createNode(control))
  return document.toString({ lineWidth: 0 })
}

/** `state` of an agent.yaml that may say nothing else yet; undefined: it says none. */
export function readState(text: string): string | undefined {
  const state: unknown = parseDocument(text).get('state')
  return typeof state === 'string' ? state : undefined
}
