/**
 * TLS settings that name files, with what is in these now. Equal contents give the same object, so that contexts and
 * sessions are kept until a file changes.
 */
import tls from 'node:tls'
import { MeshError } from '../../core/errors.ts'
import type { NamedFile, NamedFiles } from '../../core/os/named-files.ts'
import type { DownstreamTls, PeerValidation, UpstreamTls } from '../../model/tls.ts'

type Made = { readonly stamp: string; readonly settings: DownstreamTls | UpstreamTls }
const made = new WeakMap<DownstreamTls | UpstreamTls, Made>()

/** Throws MESH_TLS_FILE for a file that cannot be read. */
export function withFiles<T extends DownstreamTls | UpstreamTls>(settings: T, files: NamedFiles | undefined): T {
  const { certificate, validation } = settings
  const roots = validation?.roots
  if (
    certificate?.from !== 'files' &&
    roots?.from !== 'file' &&
    roots?.from !== 'system' &&
    validation?.crl?.from !== 'file'
  )
    return settings
  // Tests of the data path alone.
  if (!files && roots?.from === 'system' && certificate?.from !== 'files' && validation?.crl?.from !== 'file')
    return settings
  if (!files) throw new MeshError('MESH_TLS_FILE', 'the TLS settings name files, which are not read here')
  const chain =
    certificate?.from === 'files'
      ? ([files.read(certificate.chainFile), files.read(certificate.keyFile)] as const)
      : undefined
  const roof =
    roots?.from === 'file'
      ? files.read(roots.file)
      : roots?.from === 'system'
        ? (files.systemRoots() ?? ofNode())
        : undefined
  const crl = validation?.crl?.from === 'file' ? files.read(validation.crl.file) : undefined
  const stamp = [...(chain ?? []), roof, crl].map((f) => f?.stamp).join('\n')
  const known = made.get(settings)
  if (known?.stamp === stamp) return known.settings as T
  const now: T = {
    ...settings,
    ...(chain ? { certificate: { from: 'pem', chainPem: chain[0].text, keyPem: chain[1].text } } : {}),
    ...(validation ? { validation: filled(validation, roof, crl) } : {}),
  }
  made.set(settings, { stamp, settings: now })
  return now
}

/** What OpenSSL finds. None: then nobody is trusted. */
function ofNode(): NamedFile {
  const found = tls.getCACertificates('system')
  return { text: found.join('\n'), stamp: `system ${found.length}` }
}

function filled(validation: PeerValidation, roots: NamedFile | undefined, crl: NamedFile | undefined): PeerValidation {
  return {
    ...validation,
    ...(roots ? { roots: { from: 'pem', rootsPem: roots.text } } : {}),
    ...(crl ? { crl: { from: 'pem', crlPem: crl.text } } : {}),
  }
}
