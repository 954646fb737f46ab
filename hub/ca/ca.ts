/**
 * The hub's certificate authority: an ECDSA P-256 root that is made on the first start, beside it a second one while
 * roots rotate; workload certificates as istiod's CA signs them, and the certificates of the hub's own TLS ports.
 */
import { generateKeyPairSync } from 'node:crypto'
import { isIP } from 'node:net'
import type { Clock } from '../../core/os/clock.ts'
import type { Disk } from '../../core/os/disk.ts'
import { checkValidity } from '../../core/pki/validity.ts'
import { MeshError } from '../../core/errors.ts'
import { parseSpiffeId } from '../../model/identity.ts'
import { readPublicKey } from './csr.ts'
import { listRoots, makeRoot, readRoots, readRotationText } from './root-files.ts'
import { BACKDATED_MS, signLeaf, type Root } from './root.ts'
import { hashKeyId } from './x509.ts'

const SERVER_TTL_MS = 30 * 86_400_000

export type Issued = {
  /** Leaf, then everything that is to be trusted, the root that signed first; each PEM. */
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

type Wish = { readonly csrPem: string; readonly spiffeUri: string; readonly ttlSec: number }

export type Ca = {
  readonly trustDomain: string
  /** All that are trusted, the one that signs first. */
  readonly rootsPem: string
  readonly roots: readonly Root[]
  /** The one that signs. */
  readonly root: Root
  /** Takes what a command has written. @returns whether roots are others. Throws as `openCa`; then those of before count. */
  reload(): boolean
  /**
   * A certificate for the key of the request; its names are ignored and `spiffeUri` is certified.
   * Throws MESH_MALFORMED_INPUT (the request), MESH_CLOCK_WRONG, MESH_IDENTITY_EXPIRED (the root has ended).
   */
  sign(wish: Wish): Issued
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
  let rotation = readRotationText(p)
  let stored = readRoots(p) ?? {
    signing: makeRoot({ ...p, notBeforeMs: checkedNow(p) - BACKDATED_MS }),
    other: undefined,
  }
  let roots = listRoots(stored)
  const now = (): number => checkRoot(stored.signing, checkedNow(p))
  now()
  const toPem = (): string => roots.map(({ certificatePem }) => certificatePem).join('')
  let told = toPem()
  const read = (): void => {
    rotation = readRotationText(p)
    stored = readRoots(p) ?? stored
    roots = listRoots(stored)
  }
  // Whoever has had a certificate since a step counts as one who has heard of it: none is signed without.
  const lookFirst = (): void => {
    try {
      if (readRotationText(p) !== rotation) read()
    } catch {
      // `reload` tells it; those of before count.
    }
  }
  return {
    trustDomain: p.trustDomain,
    get rootsPem() {
      return toPem()
    },
    get roots() {
      return roots
    },
    get root() {
      return stored.signing
    },
    reload() {
      const before = told
      read()
      told = toPem()
      return told !== before
    },
    sign: (wish) => {
      lookFirst()
      return signWorkload(stored.signing, { ...wish, trustedPem: toPem() }, now)
    },
    serverCertificate: (dnsNames) => signServer(stored.signing, dnsNames, now()),
  }
}

/** @returns the time. Throws MESH_CLOCK_WRONG, MESH_IDENTITY_EXPIRED. */
function checkRoot(root: Root, ms: number): number {
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

function signWorkload(
  root: Root,
  { csrPem, spiffeUri, ttlSec, trustedPem }: Wish & { readonly trustedPem: string },
  now: () => number,
): Issued {
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
    chainPem: [leaf.pem, trustedPem],
    serial: leaf.serial,
    notBeforeMs,
    notAfterMs: leaf.notAfterMs,
    keyId: hashKeyId(publicKey).toString('hex'),
  }
}

function signServer(root: Root, dnsNames: readonly string[], nowMs: number): ServerCertificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const notBeforeMs = Math.max(nowMs - BACKDATED_MS, root.notBeforeMs)
  const altNames = dnsNames.map((value) => ({ kind: isIP(value) ? 'ip' : 'dns', value }) as const)
  const leaf = signLeaf(root, { publicKey, altNames, notBeforeMs, notAfterMs: nowMs + SERVER_TTL_MS })
  return {
    keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    chainPem: leaf.pem + root.certificatePem,
    notBeforeMs,
    notAfterMs: leaf.notAfterMs,
  }
}

function checkedNow(p: OpenCa): number {
  const nowMs = p.clock.wallMs()
  if (p.builtAtMs !== undefined && nowMs < p.builtAtMs)
    throw new MeshError('MESH_CLOCK_WRONG', `the clock shows ${iso(nowMs)}, the hub was built at ${iso(p.builtAtMs)}`)
  return nowMs
}
const iso = (ms: number): string => new Date(ms).toISOString()
