/** MQTT clients, and the upstream broker of a bridge. Reason codes stand in protocols/mqtt/codec/reason.ts. */
import type { Row } from './row.ts'

export const MQTT = {
  MESH_MQTT_PROTOCOL: {
    origin: 'downstream',
    retry: 'never',
    http: 400,
    flag: 'DPE',
    remedy: 'The client broke the MQTT standard; the message has the statement number.',
  },
  MESH_MQTT_NOT_AUTHORIZED: {
    origin: 'downstream',
    retry: 'never',
    http: 403,
    flag: 'DENY',
    remedy: 'The mqtt policy does not allow this client or topic.',
  },
  MESH_MQTT_NOT_OWNER: {
    origin: 'downstream',
    retry: 'never',
    http: 403,
    flag: 'DENY',
    remedy:
      'Give each client its own client id. The id is free again when its owner ends the session (clean start with expiry 0) or it has expired; rules with clientIds and principals keep an id for one identity.',
  },
  MESH_MQTT_ACL_FILE: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy:
      'Correct the line, put the file there, or let nobody but its owner write it: it is read again by itself. Until then the last good one is in force; without one, nobody connects.',
  },
  MESH_MQTT_QUOTA: {
    origin: 'downstream',
    retry: 'never',
    http: 429,
    flag: 'OVERFLOW',
    remedy: 'The spool is full: bring the link back, or raise mqtt.spool limits.',
  },
  MESH_MQTT_RATE: {
    origin: 'downstream',
    retry: 'never',
    http: 429,
    flag: 'RL',
    remedy: 'Send smaller or fewer messages, or raise the rates of mqtt.quotas.',
  },
  MESH_MQTT_KEEP_ALIVE: {
    origin: 'downstream',
    retry: 'never',
    http: 408,
    flag: 'DT',
    remedy: 'The client was silent for 1.5 times its keep-alive.',
  },
  MESH_MQTT_TAKEN_OVER: {
    origin: 'downstream',
    retry: 'never',
    http: 409,
    flag: '-',
    remedy: 'Another client connected with the same client id; give each its own.',
  },
  MESH_MQTT_KICKED: {
    origin: 'downstream',
    retry: 'never',
    http: 403,
    flag: '-',
    remedy: 'Somebody ended this connection by hand (meshlet mqtt kick); the client may connect again.',
  },
  MESH_MQTT_PACKET_TOO_LARGE: {
    origin: 'downstream',
    retry: 'never',
    http: 413,
    flag: 'DPE',
    remedy: 'Send smaller packets or raise mqtt.limits.maxPacketBytes.',
  },
  MESH_MQTT_UPSTREAM_DOWN: {
    origin: 'upstream',
    retry: 'never',
    http: 503,
    flag: 'UF',
    remedy:
      'Nothing, while the uplink is away: what waits is sent when the broker is reached again. Else look after the cluster that mqtt.routes names (/clusters) and the broker behind it.',
  },
  MESH_MQTT_HOST_OFFLINE: {
    origin: 'upstream',
    retry: 'never',
    http: 503,
    flag: 'UF',
    remedy:
      'Nothing, while the Primary Host Application is down: what waits for it is sent when it says `online` on spBv1.0/STATE/<host id> of the upstream broker. Else compare `sparkplug.hostId` of the route with the id that the host has, letter by letter, and see whether this agent may subscribe to that topic there.',
  },
  MESH_MQTT_UPSTREAM_REFUSED: {
    origin: 'upstream',
    retry: 'never',
    http: 502,
    flag: 'UR',
    remedy: 'The upstream broker refused the session or message; the message has its reason code.',
  },
} as const satisfies Record<string, Row>
