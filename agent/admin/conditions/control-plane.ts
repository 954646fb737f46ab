/** The certificate and the stream to the control plane. */
import { MeshError } from '../../../core/errors.ts'
import { formatSpan } from '../status-text.ts'
import type { StatusParts } from '../status-parts.ts'
import type { Condition } from './condition.ts'

export const CONTROL_PLANE: readonly Condition[] = [
  {
    name: 'identity',
    holds:
      'The certificate has expired, cannot be renewed or is not stored; the clock is behind what signatures prove; a file of roots or revocation lists cannot be read (what was read before counts on); `identity.folder` holds no identity (yet), and what needs one refuses.',
    codes: [
      'MESH_IDENTITY_EXPIRED',
      'MESH_IDENTITY_GRACE',
      'MESH_CLOCK_WRONG',
      'MESH_CERTIFICATE_REFUSED',
      'MESH_CERTIFICATE_TTL',
      'MESH_CONFIG_INVALID',
    ],
    find: (p) => p.identity.problems(),
  },
  {
    name: 'no-certificate',
    holds: 'A control plane is configured, and there has never been a certificate.',
    codes: ['MESH_NO_IDENTITY'],
    find: (p) =>
      p.identity.current() || !p.configuration.needsIdentity
        ? undefined
        : new MeshError('MESH_NO_IDENTITY', 'there is no certificate yet'),
  },
  {
    name: 'link-down',
    holds:
      'There is no configuration stream; the text says why, and how long ago a control plane was last heard of. The last good configuration serves on.',
    codes: ['MESH_CONTROL_UNREACHABLE', 'MESH_CONTROL_TLS', 'MESH_CONTROL_UNAUTHENTICATED', 'MESH_CONTROL_TIMEOUT'],
    find: (p) => (p.configuration.link().error?.code === 'MESH_NO_ADDRESS' ? undefined : linkProblem(p)),
  },
  {
    name: 'no-address',
    holds:
      'This machine has no address under which the mesh could know it (DHCP, no link); no control plane is asked meanwhile.',
    codes: ['MESH_NO_ADDRESS'],
    find: (p) => (p.configuration.link().error?.code === 'MESH_NO_ADDRESS' ? linkProblem(p) : undefined),
  },
  {
    name: 'clusters-held',
    holds: 'The control plane took away most clusters at once; they serve on for a while.',
    codes: ['MESH_CONTROL_SHRUNK'],
    find: heldClusters,
  },
]

function linkProblem({ configuration, clock }: StatusParts): MeshError | undefined {
  const { error, lastContactMs } = configuration.link()
  if (!error) return undefined
  const heardMs =
    lastContactMs === undefined
      ? configuration.applier.contactAtMs
      : lastContactMs - clock.monotonicMs() + clock.wallMs()
  return heardMs === undefined
    ? error
    : new MeshError(
        error.code,
        `${error.message}; a control plane was last heard of ${formatSpan(Math.max(0, (clock.wallMs() - heardMs) / 1000))} ago`,
        { cause: error },
      )
}

function heldClusters({ configuration, clock }: StatusParts): MeshError | undefined {
  const { held } = configuration.link()
  return (
    held &&
    new MeshError(
      'MESH_CONTROL_SHRUNK',
      `the control plane took away ${held.clusters} of ${held.of} clusters at once; they serve on for ${Math.max(0, Math.round((held.untilMs - clock.monotonicMs()) / 1000))} s`,
    )
  )
}
