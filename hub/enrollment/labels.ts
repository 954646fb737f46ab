/** Labels of devices: the syntax of Kubernetes' labels, so that they can be copied from there. */
import { MeshError } from '../../core/errors.ts'
import type { Labels } from '../registry/enrollments.ts'

const KEY = /^(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?\/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/
const VALUE = /^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/
const MAX_LABELS = 32

/** What is wrong with the first that is; undefined: nothing. */
export function findLabelProblem(labels: Labels): string | undefined {
  const all = Object.entries(labels)
  if (all.length > MAX_LABELS) return `at most ${MAX_LABELS} labels are taken`
  for (const [key, value] of all) {
    if (!KEY.test(key))
      return `${JSON.stringify(key.slice(0, 64))} is no name of a label: letters, digits, -, _ and ., at most 63`
    if (!VALUE.test(value))
      return `${JSON.stringify(value.slice(0, 64))} is no value of a label: letters, digits, -, _ and ., at most 63`
  }
  return undefined
}

/** `site=north,line=3`. Throws MESH_CONFIG_INVALID. */
export function parseLabelList(text: string): Labels {
  const parts = text.split(',').filter((part) => part.trim() !== '')
  const labels = parts.map((part): [string, string] => {
    const at = part.indexOf('=')
    if (at < 1)
      throw new MeshError('MESH_CONFIG_INVALID', `labels: ${JSON.stringify(part.slice(0, 64))} is not KEY=VALUE`)
    return [part.slice(0, at).trim(), part.slice(at + 1).trim()]
  })
  const problem = findLabelProblem(Object.fromEntries(labels))
  if (problem !== undefined) throw new MeshError('MESH_CONFIG_INVALID', `labels: ${problem}`)
  return Object.fromEntries(labels)
}

export function hasLabels(has: Labels, wanted: Labels): boolean {
  return Object.entries(wanted).every(([key, value]) => Object.hasOwn(has, key) && has[key] === value)
}
