/** What each revision is used for, in words. */
import type { Registry } from '../registry/registry.ts'
import { formatScope } from './scope.ts'

export async function describeUses(registry: Registry): Promise<(id: string) => readonly string[]> {
  const { assignments, active } = await registry.rollouts.desired()
  const folder = await registry.rollouts.folder()
  return (id) => [
    ...assignments.filter((one) => one.revision === id).map(({ scope }) => `in force for ${formatScope(scope)}`),
    ...(active?.to === id ? [`rollout ${active.id}`] : []),
    ...(folder.revision === id ? ['in the folder'] : []),
  ]
}
