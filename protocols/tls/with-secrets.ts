/**
 * TLS settings that name secrets, with what the control plane has sent under these names. Equal secrets give the same
 * object, so that contexts and sessions are kept until one changes.
 */
import { MeshError } from '../../core/errors.ts'
import type { Tables } from '../../model/tables.ts'
import type { DownstreamTls, PeerValidation, Secret, UpstreamTls } from '../../model/tls.ts'

type Made = { readonly of: readonly (Secret | undefined)[]; readonly settings: DownstreamTls | UpstreamTls }
const made = new WeakMap<DownstreamTls | UpstreamTls, Made>()

/** Throws MESH_TLS_SECRET for one that has not come, or is another kind of secret. */
export function withSecrets<T extends DownstreamTls | UpstreamTls>(
  settings: T,
  tables: Pick<Tables, 'secret'> | undefined,
): T {
  const { certificate, validation } = settings
  const names = [
    certificate?.from === 'secret' ? certificate.name : undefined,
    validation?.roots.from === 'secret' ? validation.roots.name : undefined,
  ] as const
  if (names.every((name) => name === undefined)) return settings
  const found = names.map((name) => (name === undefined ? undefined : find(name, tables)))
  const known = made.get(settings)
  if (known?.of.every((secret, i) => secret === found[i])) return known.settings as T
  const [pair, roots] = found
  const now: T = {
    ...settings,
    ...(pair ? { certificate: ofKind('certificate', pair, names[0]!).certificate } : {}),
    ...(roots && validation ? { validation: merge(validation, ofKind('roots', roots, names[1]!).validation) } : {}),
  }
  made.set(settings, { of: found, settings: now })
  return now
}

function find(name: string, tables: Pick<Tables, 'secret'> | undefined): Secret {
  const secret = tables?.secret(name)
  if (!secret) throw new MeshError('MESH_TLS_SECRET', `the secret ${name} has not come from the control plane`)
  if (secret.kind === 'blocked')
    throw new MeshError('MESH_TLS_SECRET', `the secret ${name} cannot be used: ${secret.reason}`)
  return secret
}

function ofKind<K extends Secret['kind']>(kind: K, secret: Secret, name: string): Extract<Secret, { kind: K }> {
  if (secret.kind === kind) return secret as Extract<Secret, { kind: K }>
  throw new MeshError(
    'MESH_TLS_SECRET',
    `the secret ${name} holds ${kind === 'roots' ? 'no roots' : 'no certificate with its key'}`,
  )
}

/** CombinedCertificateValidationContext: what the secret says is put on top. */
function merge(own: PeerValidation, { roots, sans, crl = own.crl, pins }: PeerValidation): PeerValidation {
  const both = [own.pins, pins].filter((p) => p !== undefined)
  return {
    roots,
    sans: [...own.sans, ...sans],
    ...(crl ? { crl } : {}),
    ...(both.length === 0
      ? {}
      : { pins: { certificates: both.flatMap((p) => p.certificates), keys: both.flatMap((p) => p.keys) } }),
  }
}
