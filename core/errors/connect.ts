/** What operators want of devices over the hub: commands, and connections to their ports. */
import type { Row } from './row.ts'

export const CONNECT = {
  MESH_COMMAND_AWAY: {
    origin: 'upstream',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy:
      "Ask again when the device is connected over the relay (control.address: wss://…): `meshlet-hub devices --where 'connected=true'` lists those that are.",
  },
  MESH_COMMAND_FORBIDDEN: {
    origin: 'upstream',
    retry: 'never',
    http: 403,
    flag: '-',
    remedy:
      'Whoever owns the device decides: add the command to control.commands of its agent.yaml, and let it read that: meshlet reload.',
  },
  MESH_COMMAND_FAILED: {
    origin: 'upstream',
    retry: 'never',
    http: 502,
    flag: '-',
    remedy:
      'Nothing asks again by itself. See how the device is (meshlet-hub device show NAME); its log says why (`control.command`).',
  },
  MESH_CONNECT_AWAY: {
    origin: 'upstream',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy:
      'The device must be connected to this hub over the relay (control.address: wss://…); meshlet-hub devices shows which are connected.',
  },
  MESH_CONNECT_FORBIDDEN: {
    origin: 'upstream',
    retry: 'never',
    http: 403,
    flag: '-',
    remedy:
      'Whoever owns the device decides: add the port to control.connect.ports of its agent.yaml, and let it read that: meshlet reload.',
  },
  MESH_CONNECT_LIMIT: {
    origin: 'upstream',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy: 'Close connections that are not needed; limits.maxTunnels and maxTunnelsPerDevice of hub.yaml bound them.',
  },
  MESH_CONNECT_BROKEN: {
    origin: 'upstream',
    retry: 'never',
    http: 502,
    flag: '-',
    remedy: 'See whether the device is connected (meshlet-hub device show NAME) and something listens on its port.',
  },
  MESH_CONNECT_NO_HUB: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy: 'Run this on the machine of the hub, as its user or as root, while the hub runs with `relay` in hub.yaml.',
  },
} as const satisfies Record<string, Row>
