/** Reaching the control plane, and what it sends. */
import type { Row } from './row.ts'

export const CONTROL_PLANE = {
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
    remedy:
      'It is more than the hub or the control plane takes for now: try again in a minute. An agent does so by itself.',
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
} as const satisfies Record<string, Row>
