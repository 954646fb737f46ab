/** Sockets and listeners of this machine. */
import { findShadowedListeners, selectListeners } from '../../../protocols/downstream/wanted-listeners.ts'
import { findCaptureProblem, isCaptureSocket } from '../../config/capture.ts'
import { findExposureProblems } from '../../config/exposure.ts'
import { MeshError } from '../../../core/errors.ts'
import type { StatusParts } from '../status-parts.ts'
import type { Condition } from './condition.ts'

export const PORTS: readonly Condition[] = [
  {
    name: 'capture',
    holds: '`capture` is told to the control plane and cannot be served.',
    codes: ['MESH_CAPTURE_UNAVAILABLE'],
    find: (p) => findCaptureProblem(p.config, p.inherited, p.tables.get().listeners.values()),
  },
  {
    name: 'socket-unused',
    holds:
      'A socket that systemd passed serves nobody. Those of meshlet-capture.socket (15001, 15006) may rest: a mesh need not send both listeners.',
    codes: ['MESH_SOCKET_UNUSED'],
    find: findUnusedSockets,
  },
  {
    name: 'exposed',
    holds: 'A plain listener without rules is open to anybody who reaches it.',
    codes: ['MESH_LISTENER_OPEN', 'MESH_MQTT_USER_UNPROVED'],
    find: findExposed,
  },
  {
    name: 'listener-failed',
    holds:
      'A port is taken, forbidden, or of an address that is not there (yet); it is tried again, and the others serve.',
    codes: ['MESH_PORT_IN_USE', 'MESH_PORT_FORBIDDEN', 'MESH_ADDRESS_MISSING'],
    find: (p) => p.dataPath.listeners().map((l) => (l.error?.code === 'MESH_LISTENER_TLS' ? undefined : l.error)),
  },
  {
    name: 'listener-files',
    holds:
      'A file that the `tls` of a listener names is missing, cannot be read or cannot be used; its port stays closed, the file is looked at again, and the others serve.',
    codes: ['MESH_LISTENER_TLS'],
    find: (p) => p.dataPath.listeners().map((l) => (l.error?.code === 'MESH_LISTENER_TLS' ? l.error : undefined)),
  },
  {
    name: 'listener-shadowed',
    holds: 'A pushed listener has the name of one of `agent.yaml`, which serves in its place.',
    codes: ['MESH_CONFIG_REJECTED'],
    find: shadowed,
  },
  {
    name: 'admin-failed',
    holds: 'The same of the admin port; only the log can tell.',
    codes: ['MESH_PORT_IN_USE', 'MESH_PORT_FORBIDDEN', 'MESH_ADDRESS_MISSING'],
    find: (p) => p.adminError(),
  },
  {
    name: 'dns',
    holds: 'The DNS port cannot be opened, or no resolver answers.',
    codes: ['MESH_PORT_IN_USE', 'MESH_ADDRESS_MISSING', 'MESH_DNS_UPSTREAM'],
    find: (p) => p.dns?.status().problems,
  },
]

/** Empty before the first configuration, which may still use them. */
export function findUnusedSockets({ inherited, readiness }: Pick<StatusParts, 'inherited' | 'readiness'>): MeshError[] {
  return readiness.ready
    ? (inherited?.unused(isCaptureSocket) ?? []).map((text) => new MeshError('MESH_SOCKET_UNUSED', text))
    : []
}

export function findExposed({ config, tables, own }: Pick<StatusParts, 'config' | 'tables' | 'own'>): MeshError[] {
  return findExposureProblems(
    selectListeners(tables.get(), own).values(),
    new Map(config.listeners.map((l) => [l.name, l])),
    config.mqtt.users,
  )
}

function shadowed({ tables, own }: Pick<StatusParts, 'tables' | 'own'>): MeshError[] {
  return findShadowedListeners(tables.get(), own).map(
    ({ name, address, port }) =>
      new MeshError(
        'MESH_CONFIG_REJECTED',
        `the pushed listener ${name} on ${address}:${port} is not served: agent.yaml has a listener of that name. Give one of them another`,
      ),
  )
}
