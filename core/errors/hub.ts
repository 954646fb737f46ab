/** A device with a key of its own, the hub's HTTPS API, and its console. */
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
    remedy: 'Remove the folder identity of its state, and join again with a new token: meshlet join URL --token -.',
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
    remedy: 'Ask for a path of /v1/openapi.json; of the console, for one of /api/v1/openapi.json.',
  },
  MESH_API_TOO_LARGE: {
    origin: 'downstream',
    retry: 'never',
    http: 413,
    flag: '-',
    remedy: 'Send less at a time; no request of a device comes near the limit.',
  },
  MESH_CONSOLE_LOGIN: {
    origin: 'downstream',
    retry: 'never',
    http: 401,
    flag: '-',
    remedy: 'Log in: on the hub, `meshlet-hub login` prints a link that is good for one login.',
  },
  MESH_CONSOLE_FORBIDDEN: {
    origin: 'downstream',
    retry: 'never',
    http: 403,
    flag: '-',
    remedy: 'Ask somebody with that role, or log in by a link of `meshlet-hub login --role …`.',
  },
  MESH_CONSOLE_FOREIGN: {
    origin: 'downstream',
    retry: 'never',
    http: 403,
    flag: '-',
    remedy: 'Open the console by its own address; behind a proxy, console.publicUrl of hub.yaml names that.',
  },
  MESH_CONSOLE_NOT_FOUND: {
    origin: 'downstream',
    retry: 'never',
    http: 404,
    flag: '-',
    remedy: 'The lists of devices, tokens and rollouts show what there is; /api/v1/openapi.json lists the paths.',
  },
  MESH_CONSOLE_OIDC: {
    origin: 'upstream',
    retry: 'never',
    http: 502,
    flag: '-',
    remedy: 'Check console.oidc of hub.yaml against the issuer; `meshlet-hub login` logs in without it.',
  },
  MESH_HUB_UNREACHABLE: {
    origin: 'upstream',
    retry: 'unsent',
    http: 503,
    flag: '-',
    remedy:
      'Check the address of --hub (that of its console), the way there, and on the hub `systemctl status meshlet-hub`.',
  },
  MESH_HUB_TLS: {
    origin: 'upstream',
    retry: 'never',
    http: 502,
    flag: '-',
    remedy:
      'Log in anew with what the hub is known by: `meshlet-hub login --hub URL --ca-file FILE` with the output of `meshlet-hub roots` there, or --ca-pin sha256:…; the name in the URL must stand in its certificate.',
  },
  MESH_HUB_SESSION: {
    origin: 'config',
    retry: 'never',
    http: 401,
    flag: '-',
    remedy:
      'Log in: on the hub, `meshlet-hub login --name YOU` prints a link; here, `meshlet-hub login --hub URL` asks for it.',
  },
  MESH_HUB_ANSWER: {
    origin: 'upstream',
    retry: 'never',
    http: 502,
    flag: '-',
    remedy:
      'Use meshlet-hub in the version of the hub (`meshlet-hub version` on both); where a proxy stands before the hub, look at its log.',
  },
} as const satisfies Record<string, Row>
