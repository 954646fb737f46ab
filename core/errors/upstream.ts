/** What goes wrong on the way to an endpoint and with its answer. */
import type { Row } from './row.ts'

export const UPSTREAM = {
  MESH_NO_ENDPOINT: {
    origin: 'upstream',
    retry: 'never',
    http: 503,
    flag: 'UH',
    remedy: 'The cluster has no healthy endpoint; see /clusters.',
  },
  MESH_UPSTREAM_OVERFLOW: {
    origin: 'upstream',
    retry: 'never',
    http: 503,
    flag: 'UO',
    remedy: 'A circuit breaker of the cluster is open; see circuit_breakers.',
  },
  MESH_CONNECT_FAILED: {
    origin: 'upstream',
    retry: 'unsent',
    http: 503,
    flag: 'UF',
    remedy: 'The endpoint refused or is unreachable.',
  },
  MESH_CONNECT_TIMEOUT: {
    origin: 'upstream',
    retry: 'unsent',
    http: 503,
    flag: 'UF',
    remedy: 'The endpoint did not answer within connect_timeout.',
  },
  MESH_DNS_FAILED: {
    origin: 'upstream',
    retry: 'unsent',
    http: 503,
    flag: 'DF',
    remedy: 'The name of the endpoint does not resolve.',
  },
  MESH_DNS_UPSTREAM: {
    origin: 'upstream',
    retry: 'unsent',
    http: 503,
    flag: 'DF',
    remedy:
      'Check the link and dns.upstreams, or the file that dns.resolvConf names; names of the mesh still resolve, and others while they are in the cache.',
  },
  MESH_PEER_MISMATCH: {
    origin: 'upstream',
    retry: 'unsent',
    http: 503,
    flag: 'IDENTITY_ERROR',
    remedy: 'The endpoint proved another identity than the mesh configuration expects.',
  },
  MESH_TUNNEL_REFUSED: {
    origin: 'upstream',
    retry: 'unsent',
    http: 503,
    flag: 'UF',
    remedy:
      'Who stands in front of the endpoint opened no tunnel (HBONE): 401 is a policy of its own, 400 an address that it does not serve, 503 an application that is not there.',
  },
  MESH_UPSTREAM_TLS: {
    origin: 'upstream',
    retry: 'unsent',
    http: 503,
    flag: 'UF',
    remedy: 'The TLS handshake with the endpoint failed; the message has the reason.',
  },
  MESH_TLS_FILE: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: 'UF',
    remedy:
      "Put the file there, readable for the service's user, in a folder that control.tlsFileFolders permits; it is looked for at each connection. Or name another one in the mesh (DestinationRule, Sidecar).",
  },
  MESH_TLS_SECRET: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: 'UF',
    remedy:
      "Create the Secret that `credentialName` names in the namespace of this node, with `tls.crt` and `tls.key` (or `ca.crt`), and let the node's service account list secrets there; istiod sends it at once, and says in its log why it does not.",
  },
  MESH_UPSTREAM_RESET: {
    origin: 'upstream',
    retry: 'reused',
    http: 503,
    flag: 'UC',
    remedy: 'The endpoint closed before it answered.',
  },
  MESH_UPSTREAM_PROTOCOL: {
    origin: 'upstream',
    retry: 'never',
    http: 502,
    flag: 'UPE',
    remedy: 'The endpoint broke the protocol; the message says where.',
  },
  MESH_UPSTREAM_TIMEOUT: {
    origin: 'upstream',
    retry: 'never',
    http: 504,
    flag: 'UT',
    remedy: "The endpoint did not answer within the route's timeout.",
  },
  MESH_UPSTREAM_REFUSED_STREAM: {
    origin: 'upstream',
    retry: 'unsent',
    http: 503,
    flag: 'UR',
    remedy: 'The endpoint refused the stream before working on it.',
  },
  MESH_RETRY_LIMIT: {
    origin: 'upstream',
    retry: 'never',
    http: 503,
    flag: 'URX',
    remedy: 'Every permitted try failed; the log has each.',
  },
} as const satisfies Record<string, Row>
