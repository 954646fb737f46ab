/**
 * `unsent`: no byte reached the peer, always safe. `reused`: only if the connection came from the pool and no response
 * byte arrived.
 */
export type RetryClass = 'never' | 'unsent' | 'reused'
/** `origin` decides whose health is charged; `flag` is Envoy's response flag where one exists, else ztunnel's name. */
export type Row = {
  origin: 'downstream' | 'upstream' | 'config' | 'internal'
  retry: RetryClass
  http: number
  flag: string
  remedy: string
}

/**
 * Every refusal of meshlet, once. Codes are never reused. docs/errors.md is generated from this table
 * (test/rules/catalogue.test.ts checks both ways); MQTT reason codes stand in protocols/mqtt/codec/reason.ts, keyed by
 * the same codes.
 */
export const CATALOGUE = {
  // accepting and routing
  MESH_LISTENER_FULL: {
    origin: 'downstream',
    retry: 'never',
    http: 503,
    flag: 'OVERFLOW',
    remedy:
      'Find the client that opens so many, or raise the limit that the message names (limits.maxConnections, maxConnectionsTotal, maxConnectionsPerSource).',
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
  MESH_CHAIN_BLOCKED: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: 'NC',
    remedy:
      'The listener holds something that meshlet does not implement or cannot take; meshlet status and meshlet config check name it.',
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
  // upstream
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
  // identity and control plane
  MESH_NO_IDENTITY: {
    origin: 'internal',
    retry: 'never',
    http: 503,
    flag: 'NO_IDENTITY',
    remedy:
      'meshlet status says why there is no certificate; meshlet join gets one with a join token (control.token, or --token).',
  },
  MESH_IDENTITY_EXPIRED: {
    origin: 'internal',
    retry: 'never',
    http: 503,
    flag: 'NO_IDENTITY',
    remedy: 'Bring the control link back, join with a new token, or renew the files of `identity.folder`.',
  },
  MESH_PEER_EXPIRED: {
    origin: 'downstream',
    retry: 'never',
    http: 503,
    flag: 'IDENTITY_ERROR',
    remedy:
      'The peer has to renew its certificate and connect again; with identity.expired.openConnections: end the connection goes on.',
  },
  MESH_IDENTITY_DAMAGED: {
    origin: 'internal',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy: 'The damaged file was set aside; a new certificate is requested.',
  },
  MESH_IDENTITY_GRACE: {
    origin: 'internal',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy: 'Bring the control link back before the grace ends; who is revoked in the meantime is not known here.',
  },
  MESH_CERTIFICATE_TTL: {
    origin: 'config',
    retry: 'never',
    http: 500,
    flag: '-',
    remedy:
      "Lower control.certificateTtlSec (0 = the server's default), or raise the maximum of the CA (istiod: MAX_WORKLOAD_CERT_TTL).",
  },
  MESH_CERTIFICATE_REFUSED: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy:
      'The CA does not sign what it was asked for; the message says why. Check that control.address is the CA of this mesh, and node.namespace, node.serviceAccount and identity.key; the agent asks again by itself.',
  },
  MESH_CERTIFICATE_OTHER: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy:
      'Put a join token for the workload of agent.yaml into the file of control.token: it is found within a minute, and the rest goes by itself. Or correct node.namespace and node.serviceAccount and restart.',
  },
  MESH_CERTIFICATE_OLD: {
    origin: 'internal',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy: 'Set the clock of the machine that the CA runs on; the agent asks again by itself.',
  },
  MESH_CA_DAMAGED: {
    origin: 'config',
    retry: 'never',
    http: 500,
    flag: '-',
    remedy:
      'Restore root-cert.pem and root-key.pem of the hub from a backup; with a new root every device has to join again.',
  },
  MESH_CLOCK_WRONG: {
    origin: 'internal',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy:
      'Set the clock. Certificates are checked by the later time until then; if that one is wrong, stop the agent and remove identity/time-floor.json of the state directory.',
  },
  MESH_NO_ADDRESS: {
    origin: 'internal',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy:
      'Bring a link up, or wait for DHCP: the control plane is asked as soon as this machine has an address. node.ip names one that the machine itself does not have.',
  },
  MESH_CONTROL_UNREACHABLE: {
    origin: 'internal',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy: 'Check the address, the route and the firewall; the last good configuration goes on serving.',
  },
  MESH_CONTROL_UNAUTHENTICATED: {
    origin: 'internal',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy:
      'Put a new token into the file of control.token; it is read anew at each try. Or run meshlet join --token. A token that is good is refused, too, when istiod does not know the cluster of node.clusterId.',
  },
  MESH_CONTROL_FORBIDDEN: {
    origin: 'internal',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy:
      'The certificate is for another workload than agent.yaml says: put a join token for that workload into the file of control.token, where it is found within a minute; or correct node.namespace and node.serviceAccount and restart.',
  },
  MESH_CONTROL_REFUSED: {
    origin: 'internal',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy:
      'The control plane does not take this node as agent.yaml describes it (address, metadata, WorkloadGroup): the message says what it misses.',
  },
  MESH_CONTROL_TLS: {
    origin: 'internal',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy: "Put the root certificate of the control plane's CA into the file of control.roots.",
  },
  MESH_CONTROL_PLAIN: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy: 'Let control.address name the port with TLS (istiod: 15012; 15010 is the one without).',
  },
  MESH_CONTROL_NAME: {
    origin: 'internal',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy: "Set control.serverName to a name of the control plane's certificate, or correct control.address.",
  },
  MESH_CONTROL_UNIMPLEMENTED: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy:
      'Whatever answers there is no such control plane: check control.address, or set control.protocol to the one that it speaks.',
  },
  MESH_CONTROL_COMPRESSION: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy: 'Set control.compression to none; the agent goes on without it by itself.',
  },
  MESH_CONTROL_MESSAGE_SIZE: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy: 'Raise control.maxMessageBytes, or let a Sidecar resource cut down what this node is sent.',
  },
  MESH_CONTROL_TIMEOUT: {
    origin: 'internal',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy: 'The link or the control plane is too slow; the agent tries again by itself and serves on.',
  },
  MESH_CONTROL_SHRUNK: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy:
      "Check the control plane's registry; what it took away is removed when control.shrinkHoldMs is over, unless it comes back.",
  },
  MESH_CONTROL_SLOW_DOWN: {
    origin: 'internal',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy: 'The control plane limits new streams; the agent tries again by itself.',
  },
  MESH_CONTROL_PROTOCOL: {
    origin: 'internal',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy: 'The control plane sent what xDS does not allow; the message says what.',
  },
  MESH_CONFIG_REJECTED: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy:
      'The message names resource and field. What meshlet cannot take refuses its traffic (chain, route, virtual host, cluster) and the rest is in force; where nothing can be read, the previous version serves on.',
  },
  MESH_CONFIG_INVALID: {
    origin: 'config',
    retry: 'never',
    http: 500,
    flag: '-',
    remedy: 'Correct what the message names; meshlet config check lists every mistake.',
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
      'Look after the application that readinessProbe asks, or correct where it asks; an istiod that knows of it sends no traffic here meanwhile.',
  },
  // storage
  MESH_STATE_UNUSABLE: {
    origin: 'internal',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy:
      "Give the state directory and everything in it to the service's user and nobody else: chown -R, mode 0700, files 0600, no links; or name another with `state`. Run commands that write there as that user.",
  },
  MESH_PRECOMPILE_FAILED: {
    origin: 'config',
    retry: 'never',
    http: 500,
    flag: '-',
    remedy:
      'Run meshlet precompile as the user who installed the bundle; without it everything works, and a start takes longer.',
  },
  MESH_STATE_LOCKED: {
    origin: 'config',
    retry: 'never',
    http: 500,
    flag: '-',
    remedy:
      'Give identity.encryptionKey the key that the file was sealed with; the file is left as it is. Without that key, move the file away and join again.',
  },
  MESH_STATE_IN_USE: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy: 'Another meshlet works with this state directory: stop it, or give each its own `state`.',
  },
  MESH_STORAGE_FULL: {
    origin: 'internal',
    retry: 'never',
    http: 507,
    flag: '-',
    remedy: "Free space on the disk of the state directory, or lower the spool's limits.",
  },
  MESH_STORAGE_FAILED: {
    origin: 'internal',
    retry: 'never',
    http: 500,
    flag: '-',
    remedy: 'See the cause; the disk may be failing.',
  },
  MESH_STORAGE_DAMAGED: {
    origin: 'internal',
    retry: 'never',
    http: 500,
    flag: '-',
    remedy:
      'A damaged file is set aside at the start, beside the one that takes its place; keep it for salvage. The disk may be failing.',
  },
  MESH_STORAGE_NEWER: {
    origin: 'config',
    retry: 'never',
    http: 500,
    flag: '-',
    remedy: 'The file was written by a newer meshlet: upgrade again, or move the file away.',
  },
  // MQTT
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
  MESH_MQTT_USER_UNPROVED: {
    origin: 'config',
    retry: 'never',
    http: 403,
    flag: '-',
    remedy: 'Write the rule with %c and clientIds, with %s or with principals.',
  },
  MESH_MQTT_QUOTA: {
    origin: 'downstream',
    retry: 'never',
    http: 429,
    flag: 'OVERFLOW',
    remedy: 'The spool is full: bring the link back, or raise mqtt.spool limits.',
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
  MESH_MQTT_UPSTREAM_REFUSED: {
    origin: 'upstream',
    retry: 'never',
    http: 502,
    flag: 'UR',
    remedy: 'The upstream broker refused the session or message; the message has its reason code.',
  },
  // the rest
  MESH_INTERNAL: {
    origin: 'internal',
    retry: 'never',
    http: 500,
    flag: '-',
    remedy: 'This is a defect of meshlet; please report it with the log line.',
  },
} as const satisfies Record<string, Row>
export type ErrorCode = keyof typeof CATALOGUE

/** The only error class that leaves a module. Match on `code`, never on `message`. */
export class MeshError extends Error {
  override readonly name = 'MeshError'
  readonly code: ErrorCode
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
  }
  get row(): Row {
    return CATALOGUE[this.code]
  }
}

/** Anything thrown, as a MeshError: one of ours stays as it is, the rest becomes MESH_INTERNAL with its cause. */
export function toMeshError(thrown: unknown): MeshError {
  if (thrown instanceof MeshError) return thrown
  return new MeshError('MESH_INTERNAL', thrown instanceof Error ? thrown.message : String(thrown), { cause: thrown })
}

/** One sentence for a person: code, what, and what to do; after a list what to do stands on a line of its own. */
export function sentence(err: MeshError): string {
  return `${err.code}: ${err.message.replace(/\.$/, '')}${err.message.includes('\n') ? '\n' : '. '}${err.row.remedy}`
}
