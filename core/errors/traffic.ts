/** What a connection or request meets before an upstream is asked: accepting it, reading it, finding its route. */
import type { Row } from './row.ts'

export const TRAFFIC = {
  MESH_LISTENER_FULL: {
    origin: 'downstream',
    retry: 'never',
    http: 503,
    flag: 'OVERFLOW',
    remedy:
      'Find the client that opens so many, or raise the limit that the message names (limits.maxConnections, maxConnectionsTotal, maxConnectionsPerSource; of memory: MemoryMax of the unit).',
  },
  MESH_LISTENER_GONE: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: 'NC',
    remedy: 'The port is open because the socket unit holds it; give it a listener again, or take it out of the unit.',
  },
  MESH_PORT_IN_USE: {
    origin: 'config',
    retry: 'never',
    http: 500,
    flag: '-',
    remedy: 'Stop the other process or give the listener another port.',
  },
  MESH_PORT_FORBIDDEN: {
    origin: 'config',
    retry: 'never',
    http: 500,
    flag: '-',
    remedy:
      'Use an address of this machine and a port above 1023, or have a socket unit open it (docs/configuration.md).',
  },
  MESH_ADDRESS_MISSING: {
    origin: 'config',
    retry: 'never',
    http: 500,
    flag: '-',
    remedy:
      'Nothing, where the address comes later (DHCP, an uplink): the port is tried again by itself. Else give the listener an address of this machine.',
  },
  MESH_SNIFF_TIMEOUT: {
    origin: 'downstream',
    retry: 'never',
    http: 408,
    flag: 'DT',
    remedy: 'The client must speak first, or the port needs an explicit protocol.',
  },
  MESH_NO_FILTER_CHAIN: {
    origin: 'downstream',
    retry: 'never',
    http: 404,
    flag: 'NR',
    remedy: 'The client spoke TLS where plain text is expected, the other way round, or used an unknown server name.',
  },
  MESH_TUNNEL_TARGET: {
    origin: 'downstream',
    retry: 'never',
    http: 400,
    flag: 'NR',
    remedy:
      'A peer of the mesh asked for a tunnel (HBONE) to an address or a port that is not to be reached through this node: its own addresses are those of node.ip and of the port that the tunnel came to.',
  },
  MESH_CONNECTION_LIMIT: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: 'OVERFLOW',
    remedy:
      'Find the clients that have them open, or raise max_connections of the connection_limit that the EnvoyFilter adds.',
  },
  MESH_RATE_LIMITED: {
    origin: 'config',
    retry: 'never',
    http: 429,
    flag: 'RL',
    remedy:
      'Send less, or raise the limit: the EnvoyFilter that adds local_ratelimit names it, or the rate limit service of ratelimit has it.',
  },
  MESH_RATE_LIMIT_UNAVAILABLE: {
    origin: 'config',
    retry: 'never',
    http: 500,
    flag: 'RLSE',
    remedy:
      'The log says why (http.rate-limit). Look after the rate limit service, raise the timeout of the ratelimit filter, or let requests pass without it (failure_mode_deny).',
  },
  MESH_HEALTH_CHECK: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: 'LH',
    remedy:
      'Nothing, while it drains. Else too few endpoints of a cluster that the health_check filter names can serve, or the endpoint itself said so.',
  },
  MESH_CHAIN_BLOCKED: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: 'NC',
    remedy:
      'The listener holds something that meshlet does not implement or cannot take; meshlet status and meshlet config check name it.',
  },
  MESH_PROXY_HEADER: {
    origin: 'downstream',
    retry: 'never',
    http: 400,
    flag: 'DPE',
    remedy:
      "The listener has proxyProtocol: let the load balancer in front send a PROXY header, and put its address into the listener's proxyProtocol.trusted; clients cannot connect past it.",
  },
  MESH_ROUTE_BLOCKED: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: 'NC',
    remedy: 'The route, or its virtual host, holds something that meshlet cannot take; meshlet status names it.',
  },
  MESH_CLUSTER_BLOCKED: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: 'NC',
    remedy:
      'The cluster holds something that meshlet cannot take, such as TLS settings; meshlet status names it. The version before is not used, as it may be less secure.',
  },
  MESH_TLS_HANDSHAKE: {
    origin: 'downstream',
    retry: 'never',
    http: 400,
    flag: 'TLS_FAILURE',
    remedy: "Check the peer's certificate, its trust domain and both clocks.",
  },
  MESH_ORIGIN_REFUSED: {
    origin: 'downstream',
    retry: 'never',
    http: 403,
    flag: 'DENY',
    remedy:
      'If that web page is to use MQTT, put its origin into mqtt.allowedOrigins; a program without a browser leaves Origin out.',
  },
  MESH_PEER_NOT_ALLOWED: {
    origin: 'downstream',
    retry: 'never',
    http: 403,
    flag: 'DENY',
    remedy: 'An authorization policy refuses this peer; the log line names the policy.',
  },
  MESH_TOKEN_REFUSED: {
    origin: 'downstream',
    retry: 'never',
    http: 401,
    flag: 'DENY',
    remedy:
      'The message says why; a RequestAuthentication (jwt_authn) says which issuers, audiences and places count. Look at both clocks where it is about time.',
  },
  MESH_TOKEN_AUDIENCE: {
    origin: 'downstream',
    retry: 'never',
    http: 403,
    flag: 'DENY',
    remedy: 'The token is for others: ask the issuer for one whose `aud` the RequestAuthentication (jwt_authn) lists.',
  },
  MESH_EXT_AUTHZ_DENIED: {
    origin: 'downstream',
    retry: 'never',
    http: 403,
    flag: 'UAEX',
    remedy: 'The authorization service of a CUSTOM policy (ext_authz) refuses the request; its own log says why.',
  },
  MESH_EXT_AUTHZ_UNAVAILABLE: {
    origin: 'upstream',
    retry: 'never',
    http: 403,
    flag: 'UAEX',
    remedy:
      'The authorization service of a CUSTOM policy (ext_authz) could not be asked: look at its cluster in /clusters. It may be made to let requests pass then (failOpen).',
  },
  MESH_EXT_AUTHZ_BODY_TOO_LARGE: {
    origin: 'downstream',
    retry: 'never',
    http: 413,
    flag: '-',
    remedy:
      'The body is larger than the authorization service is to get (includeRequestBodyInCheck.maxRequestBytes); allowPartialMessage sends it a part.',
  },
  MESH_REQUEST_TOO_LARGE: {
    origin: 'downstream',
    retry: 'never',
    http: 413,
    flag: '-',
    remedy: 'The body is larger than the buffer filter of the listener or of the route takes (max_request_bytes).',
  },
  MESH_UPGRADE_NOT_PERMITTED: {
    origin: 'downstream',
    retry: 'never',
    http: 403,
    flag: '-',
    remedy: 'Permit it with upgrade_configs of the listener or the route (Istio does for websocket).',
  },
  MESH_MALFORMED_INPUT: {
    origin: 'downstream',
    retry: 'never',
    http: 400,
    flag: 'DPE',
    remedy: 'The client broke the protocol; the message says where.',
  },
  MESH_HTTP2_FLOOD: {
    origin: 'downstream',
    retry: 'never',
    http: 400,
    flag: 'DPE',
    remedy:
      'The client resets most of its streams, or sends SETTINGS or PING all the time: an attack, or a client with a defect.',
  },
  MESH_HEADERS_TOO_LARGE: {
    origin: 'downstream',
    retry: 'never',
    http: 431,
    flag: 'DPE',
    remedy: 'Send smaller headers or raise limits.maxHeaderBytes.',
  },
  MESH_REQUEST_TIMEOUT: {
    origin: 'downstream',
    retry: 'never',
    http: 408,
    flag: 'DT',
    remedy: 'The client stopped sending in the middle of a request.',
  },
  MESH_CLIENT_GONE: {
    origin: 'downstream',
    retry: 'never',
    http: 499,
    flag: 'DC',
    remedy: 'The client closed before the answer; nothing to do here.',
  },
  MESH_IDLE_TIMEOUT: {
    origin: 'downstream',
    retry: 'never',
    http: 504,
    flag: 'SI',
    remedy: 'Nothing moved for the idle time of the listener or route.',
  },
  MESH_STREAM_STALLED: {
    origin: 'downstream',
    retry: 'never',
    http: 503,
    flag: 'OM',
    remedy:
      "The client, or the endpoint of an upload, did not take its bytes while memory or the cluster's max_requests was used up by such. Let it read, or raise limits.maxQueuedMemoryBytes or circuit_breakers.",
  },
  MESH_STREAM_DURATION: {
    origin: 'downstream',
    retry: 'never',
    http: 504,
    flag: '-',
    remedy: "The exchange took longer than max_stream_duration, or than the caller's own grpc-timeout, permits.",
  },
  MESH_NO_ROUTE: {
    origin: 'downstream',
    retry: 'never',
    http: 404,
    flag: 'NR',
    remedy: 'No route matches host and path; meshlet config dump shows the routes.',
  },
  MESH_NO_CLUSTER: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: 'NC',
    remedy: 'The route names a cluster that the control plane did not send.',
  },
  MESH_UNSUPPORTED: {
    origin: 'downstream',
    retry: 'never',
    http: 501,
    flag: 'DPE',
    remedy: 'The message names what is not supported.',
  },
  MESH_DRAINING: {
    origin: 'internal',
    retry: 'never',
    http: 503,
    flag: 'DR',
    remedy: 'The agent is shutting down; try again.',
  },
  MESH_FAULT_INJECTED: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: 'FI',
    remedy: 'A fault rule of the route answered.',
  },
} as const satisfies Record<string, Row>
