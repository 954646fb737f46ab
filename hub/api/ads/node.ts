/**
 * The `node` of a stream's first request: Istio's id of four parts with its metadata (pilot/pkg/model/context.go), or
 * any id of a plain xDS client.
 */
import { MeshError } from '../../../core/errors.ts'
import { isNodeName } from '../../registry/node-names.ts'
import type { NodeFacts } from '../../source/resources.ts'
import type { Caller } from '../authenticate.ts'

export type NodeMessage = Omit<NodeFacts, 'namespace'>
export type NodeIdentity = {
  readonly id: string
  /** The folder of the node's resources. */
  readonly name: string
  /** From the node's metadata; undefined when it has none. */
  readonly namespace: string | undefined
  readonly serviceAccount: string | undefined
}

const MAX_ID_CHARS = 1_024

/** Throws MESH_CONTROL_PROTOCOL when there is no node, or its name cannot be the name of a folder. */
export function readNodeIdentity(node: NodeMessage | undefined): NodeIdentity {
  if (!node || node.id === '' || node.id.length > MAX_ID_CHARS)
    throw new MeshError('MESH_CONTROL_PROTOCOL', 'missing node information in the first request')
  const text = (key: string): string | undefined => {
    const value = node.metadata?.[key]
    return typeof value === 'string' && value !== '' ? value : undefined
  }
  const parts = node.id.split('~')
  const workload = parts.length === 4 ? /^(.+)\.([^.]+)$/.exec(parts[2]!) : null // NAME.NAMESPACE
  const name = text('NAME') ?? workload?.[1] ?? node.id
  if (!isNodeName(name))
    throw new MeshError('MESH_CONTROL_PROTOCOL', 'the node\'s name is not letters, digits, ".", "_" and "-"')
  return { id: node.id, name, namespace: text('NAMESPACE') ?? workload?.[2], serviceAccount: text('SERVICE_ACCOUNT') }
}

/**
 * A caller may be a node of its own namespace and service account only (pilot/pkg/xds/auth.go). Throws
 * MESH_CONTROL_FORBIDDEN.
 */
export function mayBe(caller: Caller, node: NodeIdentity): void {
  const namespace = node.namespace ?? caller.namespace
  const serviceAccount = node.serviceAccount ?? caller.serviceAccount
  if (namespace !== caller.namespace || serviceAccount !== caller.serviceAccount) {
    throw new MeshError(
      'MESH_CONTROL_FORBIDDEN',
      `authorization failed: no identities (${caller.spiffeId.uri}) matched ${namespace.slice(0, 253)}/${serviceAccount.slice(0, 253)}`,
    )
  }
}
