/** Whom a revision is for: all devices, those with certain labels, or one. */
import { MeshError } from '../../core/errors.ts'
import { findLabelProblem, hasLabels } from '../enrollment/labels.ts'
import type { Labels } from '../registry/enrollments.ts'
import { isNodeName } from '../registry/node-names.ts'

export type Scope =
  | { readonly kind: 'all' }
  | { readonly kind: 'labels'; readonly labels: Labels }
  | { readonly kind: 'device'; readonly name: string }
export type DeviceOf = { readonly name: string; readonly labels: Labels }

export const EVERYBODY: Scope = { kind: 'all' }

/** Throws MESH_CONFIG_INVALID for labels or a name that cannot be, or both. */
export function makeScope(p: { readonly labels?: Labels | undefined; readonly device?: string | undefined }): Scope {
  const isLabelled = p.labels !== undefined && Object.keys(p.labels).length > 0
  if (p.device !== undefined) {
    if (isLabelled)
      throw new MeshError('MESH_CONFIG_INVALID', 'a rollout is for one device or for labels, not for both')
    if (!isNodeName(p.device))
      throw new MeshError('MESH_CONFIG_INVALID', `${JSON.stringify(p.device.slice(0, 64))} cannot be a device's name`)
    return { kind: 'device', name: p.device }
  }
  if (!isLabelled) return EVERYBODY
  const problem = findLabelProblem(p.labels!)
  if (problem !== undefined) throw new MeshError('MESH_CONFIG_INVALID', problem)
  return { kind: 'labels', labels: p.labels! }
}

export function isWithin(scope: Scope, device: DeviceOf): boolean {
  switch (scope.kind) {
    case 'all':
      return true
    case 'labels':
      return hasLabels(device.labels, scope.labels)
    case 'device':
      return device.name === scope.name
    default:
      return scope satisfies never
  }
}

/** `all`, `site=north,line=3` or `device gw-17`; equal scopes have equal texts. */
export function formatScope(scope: Scope): string {
  switch (scope.kind) {
    case 'all':
      return 'all'
    case 'labels':
      return formatLabels(scope.labels)
    case 'device':
      return `device ${scope.name}`
    default:
      return scope satisfies never
  }
}

export const formatLabels = (labels: Labels): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .toSorted()
    .join(',')
