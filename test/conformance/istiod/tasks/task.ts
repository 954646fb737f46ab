/** A task of Istio's documentation, as checks of what a sidecar does, and how they are run. */
import { AssertionError } from 'node:assert/strict'
import type { Mesh } from './mesh/mesh.ts'

export type Check = {
  /** What a sidecar does. */
  readonly what: string
  /** In the place of the task's, as `mesh`. */
  readonly yaml?: string
  readonly mesh?: string
  /** Rejects with an AssertionError when it is not so. */
  readonly run: (mesh: Mesh) => Promise<void>
  /** It is known not to be so: what meshlet does. The check must then fail, so that this goes when it is mended. */
  readonly differs?: string
}
export type Task = {
  readonly name: string
  /** Istio's page: the path below https://istio.io/latest/docs/. */
  readonly page: string
  /** In force for its checks, as Istio's page has it but for names and addresses. */
  readonly yaml?: string
  /** Lines of mesh.yaml beside those of every task. */
  readonly mesh?: string
  readonly checks: readonly Check[]
  /** Another test that shows it with the same istiod, where it takes a mesh of its own; its path, and the verdict. */
  readonly shownBy?: readonly [file: string, verdict: Verdict]
  /** Nothing is tried: why it cannot work, or is no matter of a node's. */
  readonly reason?: string
  /** What else is different, which no traffic shows. */
  readonly differs?: string
}

export type CheckResult = {
  readonly check: Check
  /** `broken`: it could not be tried. */
  readonly result: 'works' | 'differs' | 'broken'
  readonly error?: unknown
}
export type TaskResult = { readonly task: Task; readonly checks: readonly CheckResult[]; readonly seconds: number }

/** Works where it is said not to, or the other way round. */
export const isSurprise = ({ check, result }: CheckResult): boolean =>
  result !== (check.differs === undefined ? 'works' : 'differs')

export async function runTask(mesh: Mesh, task: Task): Promise<TaskResult> {
  const from = performance.now()
  const checks: CheckResult[] = []
  for (const check of task.checks)
    try {
      await mesh.set({ yaml: check.yaml ?? task.yaml, settings: check.mesh ?? task.mesh })
      await check.run(mesh)
      checks.push({ check, result: 'works' })
    } catch (error) {
      checks.push({ check, result: error instanceof AssertionError ? 'differs' : 'broken', error })
    }
  return { task, checks, seconds: (performance.now() - from) / 1000 }
}

export type Verdict = 'works' | 'partly' | 'no'

/** Of what is written down, which a run without surprises has shown to be so. */
export function decideVerdict(task: Task): Verdict {
  if (task.shownBy) return task.shownBy[1]
  const differing = task.checks.filter((c) => c.differs !== undefined).length
  if (differing === task.checks.length) return 'no'
  return differing > 0 || task.differs !== undefined ? 'partly' : 'works'
}
