/** What agent.yaml says, and the machine and workload that it says it of. */
import type { Row } from './row.ts'

export const MACHINE = {
  MESH_CONFIG_INVALID: {
    origin: 'config',
    retry: 'never',
    http: 500,
    flag: '-',
    remedy:
      'Correct what the message names: `meshlet config check` lists every mistake of agent.yaml, --help what a command takes.',
  },
  MESH_CONFIG_RESTART: {
    origin: 'config',
    retry: 'never',
    http: 500,
    flag: '-',
    remedy: 'Restart the agent when it suits: these settings of agent.yaml count from its next start on.',
  },
  MESH_MEMORY_FULL: {
    origin: 'internal',
    retry: 'never',
    http: 503,
    flag: 'OVERFLOW',
    remedy:
      'Give the process more (MemoryMax of the unit), or find who takes it: mesh_memory_held_bytes, mesh_connections_open, mqtt.limits; large configurations need more than 256 MiB.',
  },
  MESH_CAPTURE_UNAVAILABLE: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy:
      'Use `capture: transparent` with the sockets of meshlet-capture.socket (docs/istio.md), or leave `capture` (or ISTIO_META_INTERCEPTION_MODE) out and remove the rules.',
  },
  MESH_CAPTURE_LOOP: {
    origin: 'config',
    retry: 'never',
    http: 508,
    flag: '-',
    remedy:
      'The capture rules must spare the user that meshlet runs as: systemctl show -p User -p UID meshlet, nft list table ip meshlet.',
  },
  MESH_LISTENER_TLS: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy:
      "Put the files there that the listener's `tls` names, readable for the service's user and made for each other. They are looked at again by themselves, within a minute; the other listeners serve meanwhile.",
  },
  MESH_LISTENER_OPEN: {
    origin: 'config',
    retry: 'never',
    http: 403,
    flag: '-',
    remedy:
      'Give the listener `tls`, mqtt.rules if it is for MQTT, or a loopback address. If anybody who reaches the port is to come in, say so: `acceptAnyone: true`.',
  },
  MESH_SOCKET_UNUSED: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy: 'Give a listener exactly that address and port, or take the socket out of the socket unit.',
  },
  MESH_AGENT_UNREACHABLE: {
    origin: 'internal',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy: 'Start it with meshlet run, or name its admin port with --admin.',
  },
  MESH_TOKEN_INVALID: {
    origin: 'config',
    retry: 'never',
    http: 401,
    flag: '-',
    remedy: 'Create a new one with meshlet-hub token create.',
  },
  MESH_PROBE_FAILED: {
    origin: 'internal',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy:
      'Look after the application that readinessProbe asks, or correct where it asks; an istiod that knows of it sends no traffic here meanwhile. Of endpoints of a cluster: look after them, see /clusters, or correct health_checks.',
  },
} as const satisfies Record<string, Row>
