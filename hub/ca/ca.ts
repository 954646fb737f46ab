/**
 * The hub's certificate authority: an ECDSA P-256 root that is made on the first start and kept in two files,
 * workload certificates as istiod's CA signs them, and the certificates of the hub's own TLS port.
 */
import { generateKeyPairSync } from 'node:crypto'
import { isIP } from 'node:net'
import path from 'node:path'
import type { Clock } from '../../core/os/clock.ts'
import type { Disk } from '../../core/os/disk.ts'
import { checkValidity } from '../../core/pki/validity.ts'
import { MeshError } from '../../core/errors.ts'
import { parseSpiffeId } from '../../model/identity.ts'
import { readPublicKey } from './csr.ts'
import { createRoot, readRoot, signLeaf, type Root } from './root.ts'
import { hashKeyId } from './x509.ts'

export const ROOT_CERTIFICATE_FILE = 'root-cert.pem'
export const ROOT_KEY_FILE = 'root-key.pem'
/** A device whose clock is a little late accepts a fresh certificate (istiod does the same). */
const BACKDATED_MS = 120_000
const SERVER_TTL_MS = 30 * 86_400_000

export type Issued = {
  /** Leaf, then root, each PEM. */
  readonly chainPem: readonly [string, string]
  /** Lower-case hex. */
  readonly serial: string
  readonly notBeforeMs: number
  readonly notAfterMs: number
  /** Of the certified public key, lower-case hex: the same for a repeated request. */
  readonly keyId: string
}
export type ServerCertificate = {
  readonly keyPem: string
  readonly chainPem: string
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

export type Ca = {
  readonly trustDomain: string
  readonly rootsPem: string
  readonly root: Root
  /**
   * A certificate for the key of the request; its names are ignored and `spiffeUri` is certified.
   * Throws MESH_MALFORMED_INPUT (the request), MESH_CLOCK_WRONG, MESH_IDENTITY_EXPIRED (the root has ended).
   */
  sign(p: { readonly csrPem: string; readonly spiffeUri: string; readonly ttlSec: number }): Issued
  /** A new key and certificate for a TLS server of these names and addresses. Throws as `sign` does. */
  serverCertificate(dnsNames: readonly string[]): ServerCertificate
}

export type OpenCa = {
  readonly folder: string
  readonly disk: Disk
  readonly clock: Clock
  readonly trustDomain: string
  /** When the program was built, milliseconds since the epoch: no right clock shows less. */
  readonly builtAtMs?: number | undefined
}

/**
 * Opens the CA in `folder` or makes it there (folder 0700, key 0600).
 * Throws MESH_CLOCK_WRONG, MESH_CA_DAMAGED, MESH_STATE_UNUSABLE.
 */
export function openCa(p: OpenCa): Ca {
  const root = stored(p) ?? made(p)
  const now = (): number => {
    const ms = checkedNow(p)
    const { state } = checkValidity(root, ms)
    if (state === 'not-yet')
      throw new MeshError(
        'MESH_CLOCK_WRONG',
        `the clock shows ${iso(ms)}, the root certificate was made at ${iso(root.notBeforeMs)}`,
      )
    if (state === 'expired')
      throw new MeshError('MESH_IDENTITY_EXPIRED', `the root certificate of the hub ended at ${iso(root.notAfterMs)}`)
    return ms
  }
  now()
  return {
    trustDomain: p.trustDomain,
    rootsPem: root.certificatePem,
    root,
    sign({ csrPem, spiffeUri, ttlSec }) {
      if (!parseSpiffeId(spiffeUri)) throw new MeshError('MESH_INTERNAL', `${spiffeUri} is not a SPIFFE id`)
      const [publicKey, nowMs] = [readPublicKey(csrPem), now()]
      const notBeforeMs = Math.max(nowMs - BACKDATED_MS, root.notBeforeMs)
      const leaf = signLeaf(root, {
        publicKey,
        altNames: [{ kind: 'uri', value: spiffeUri }],
        notBeforeMs,
        notAfterMs: nowMs + ttlSec * 1_000,
      })
      return {
        chainPem: [leaf.pem, root.certificatePem],
        serial: leaf.serial,
        notBeforeMs,
        notAfterMs: leaf.notAfterMs,
        keyId: hashKeyId(publicKey).toString('hex'),
      }
    },
    serverCertificate(dnsNames) {
      const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
      const nowMs = now()
      const notBeforeMs = Math.max(nowMs - BACKDATED_MS, root.notBeforeMs)
      const altNames = dnsNames.map((value) => ({ kind: isIP(value) ? 'ip' : 'dns', value }) as const)
      const leaf = signLeaf(root, { publicKey, altNames, notBeforeMs, notAfterMs: nowMs + SERVER_TTL_MS })
      return {
        keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }),
        chainPem: leaf.pem + root.certificatePem,
        notBeforeMs,
        notAfterMs: leaf.notAfterMs,
      }
    },
  }
}

function stored(p: OpenCa): Root | undefined {
  const [certificate, key] = [ROOT_CERTIFICATE_FILE, ROOT_KEY_FILE].map((name) =>
    readText(path.join(p.folder, name), p.disk),
  )
  // A key alone is what a crash on the first start leaves: nobody has seen its certificate yet.
  if (certificate === undefined) return undefined
  if (key === undefined)
    throw new MeshError('MESH_CA_DAMAGED', `${p.folder} holds ${ROOT_CERTIFICATE_FILE} but no ${ROOT_KEY_FILE}`)
  return readRoot(certificate, key)
}

function made(p: OpenCa): Root {
  const { root, keyPem } = createRoot({ trustDomain: p.trustDomain, notBeforeMs: checkedNow(p) - BACKDATED_MS })
  try {
    p.disk.makeFolder(p.folder, 0o700)
    p.disk.replace(path.join(p.folder, ROOT_KEY_FILE), keyPem, 0o600)
    p.disk.replace(path.join(p.folder, ROOT_CERTIFICATE_FILE), root.certificatePem, 0o644)
  } catch (cause) {
    throw new MeshError('MESH_STATE_UNUSABLE', `the CA cannot be written to ${p.folder}`, { cause })
  }
  return root
}

function readText(file: string, disk: Disk): string | undefined {
  try {
    return disk.read(file)?.toString('utf8')
  } catch (cause) {
    throw new MeshError('MESH_STATE_UNUSABLE', `${file} cannot be read`, { cause })
  }
}

function checkedNow(p: OpenCa): number {
  const nowMs = p.clock.wallMs()
  if (p.builtAtMs !== undefined && nowMs < p.builtAtMs)
    throw new MeshError('MESH_CLOCK_WRONG', `the clock shows ${iso(nowMs)}, the hub was built at ${iso(p.builtAtMs)}`)
  return nowMs
}
const iso = (ms: number): string => new Date(ms).toISOString()
