/** A device with a key of its own, and the hub's HTTPS API. */
import type { Row } from './row.ts'

export const HUB = {
  MESH_DEVICE_PENDING: {
    origin: 'config',
    retry: 'never',
    http: 403,
    flag: '-',
    remedy:
      'Let an operator look at it: meshlet-hub device list, then meshlet-hub device approve NAME; the agent asks again by itself.',
  },
  MESH_DEVICE_UNKNOWN: {
    origin: 'config',
    retry: 'never',
    http: 404,
    flag: '-',
    remedy: 'Join again with a new token: meshlet join URL --token -.',
  },
  MESH_DEVICE_REVOKED: {
    origin: 'config',
    retry: 'never',
    http: 403,
    flag: '-',
    remedy: 'If that was a mistake: meshlet-hub device approve NAME. Otherwise the device stays out.',
  },
  MESH_DEVICE_CLONED: {
    origin: 'config',
    retry: 'never',
    http: 409,
    flag: '-',
    remedy:
      'Two machines have one device key. Find the copy, remove its state folder and join it with a token of its own; then meshlet-hub device approve NAME.',
  },
  MESH_DEVICE_PROOF: {
    origin: 'config',
    retry: 'never',
    http: 401,
    flag: '-',
    remedy:
      "Whatever stands between device and hub must not end TLS. Check identity.deviceKey, and that the URL is the hub's own.",
  },
  MESH_PEER_REVOKED: {
    origin: 'downstream',
    retry: 'never',
    http: 503,
    flag: 'IDENTITY_ERROR',
    remedy:
      'The hub has revoked that device: meshlet-hub audit says who and why; meshlet-hub device approve NAME lets it in again.',
  },
  MESH_API_NOT_FOUND: {
    origin: 'downstream',
    retry: 'never',
    http: 404,
    flag: '-',
    remedy: 'Ask for a path of /v1/openapi.json.',
  },
  MESH_API_TOO_LARGE: {
    origin: 'downstream',
    retry: 'never',
    http: 413,
    flag: '-',
    remedy: 'Send less at a time; no request of a device comes near the limit.',
  },
} as const satisfies Record<string, Row>
