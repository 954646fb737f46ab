/** This agent's own certificate, the CA that signs it, and the time by which it counts. */
import type { Row } from './row.ts'

export const IDENTITY = {
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
} as const satisfies Record<string, Row>
