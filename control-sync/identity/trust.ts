/**
 * Whom the mesh's peers are verified by, besides the roots that came with the certificate: roots that the control plane
 * sends (Istio's ProxyConfig ca_certificates_pem), roots of a file, and revocation lists. While roots are exchanged the
 * old and the new one stand here side by side.
 */
import type { Disk } from '../../core/os/disk.ts'
import { readTrustedFile } from '../../core/os/files/trusted-file.ts'
import { MeshError, toMeshError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Identity } from '../../model/identity.ts'
import { parseCertificates, parseCrls } from '../../core/pki/x509.ts'

/** Of one file, or sent at a time. */
const MAX_ROOTS = 256
const MAX_FILE_BYTES = 16 * 1024 * 1024

/** What the control plane sends (decode/names.ts). */
export type SentTrust = {
  readonly caCertificatesPem: readonly string[]
  readonly revocationListsPem: readonly string[]
}

export type TrustOptions = {
  readonly disk: Disk
  readonly log: Log
  /** PEM file with further roots. */
  readonly rootsFile: string | undefined
  /** PEM file with revocation lists. */
  readonly crlFile: string | undefined
  /** That there is no such file is no mistake (ca-crl.pem beside certificates). */
  readonly crlMayBeMissing: boolean
}

export class Trust {
  readonly #o: TrustOptions
  #sent: readonly string[] = []
  #sentLists: readonly string[] = []
  #roots: readonly string[] = []
  #crlPem: string | undefined
  #problems: readonly MeshError[] = []
  /** By identity, so that nothing new gives the same object. */
  #given = new WeakMap<Identity, Identity>()

  /** Throws MESH_CONFIG_INVALID when a file cannot be used: at start there is nothing to go on with. */
  constructor(options: TrustOptions) {
    this.#o = options
    this.#roots = this.#readRoots()
    this.#crlPem = this.#readCrl()
  }

  /** Files that cannot be used now; what was read before counts on. */
  get problems(): readonly MeshError[] {
    return this.#problems
  }

  /** The identity with everything that it is to trust. The same object as long as nothing has changed. */
  complete(identity: Identity): Identity {
    const known = this.#given.get(identity)
    if (known) return known
    const extra = [...this.#sent, ...this.#roots]
    const crlPem = this.#crlPem ?? identity.crlPem
    const made =
      extra.length === 0 && crlPem === identity.crlPem && this.#sentLists.length === 0
        ? identity
        : this.#completed(identity, { extra, crlPem })
    this.#given.set(identity, made)
    return made
  }

  #completed(
    identity: Identity,
    p: { readonly extra: readonly string[]; readonly crlPem: string | undefined },
  ): Identity {
    const roots = [...new Set([...pems(identity.rootsPem), ...p.extra])]
    const keys = roots.flatMap((pem) => parseCertificates(pem)).map((root) => root.publicKey)
    // Whoever sends a list: a root of the mesh must have signed it.
    const lists = this.#sentLists.flatMap(parseCrls).filter((list) => keys.some((key) => list.isSignedBy(key)))
    const revoked = new Set(lists.flatMap((list) => [...list.revoked]))
    return { ...identity, rootsPem: roots.join(''), crlPem: p.crlPem, ...(revoked.size === 0 ? {} : { revoked }) }
  }

  /**
   * Roots and revocation lists that the control plane sends, each time all of them.
   * @returns roots that are none, with their place; they are left out
   */
  setSent({ caCertificatesPem: sent, revocationListsPem: lists }: SentTrust): readonly string[] {
    if (this.#changed(lists, this.#sentLists)) {
      this.#sentLists = lists
      this.#given = new WeakMap()
      this.#o.log.info(
        { evt: 'identity.revoked', lists: lists.length },
        'other revocation lists from the control plane',
      )
    }
    const refused: string[] = []
    const roots = sent.slice(0, MAX_ROOTS).flatMap((pem, i) => {
      try {
        return rootsIn(pem)
      } catch (err) {
        refused.push(`${i}: ${err instanceof Error ? err.message : String(err)}`)
        return []
      }
    })
    if (sent.length > MAX_ROOTS) refused.push(`${MAX_ROOTS}: more than ${MAX_ROOTS} roots`)
    if (this.#changed(roots, this.#sent)) {
      this.#sent = roots
      this.#given = new WeakMap()
      this.#o.log.info({ evt: 'identity.roots', sent: roots.length }, 'other roots from the control plane')
    }
    return refused
  }

  /** Looks at the files again. @returns whether anything is different */
  reread(): 'same' | 'changed' {
    const problems: MeshError[] = []
    const read = <T>(how: () => T, before: T): T => {
      try {
        return how()
      } catch (thrown) {
        problems.push(toMeshError(thrown))
        return before
      }
    }
    const [roots, crlPem] = [read(() => this.#readRoots(), this.#roots), read(() => this.#readCrl(), this.#crlPem)]
    for (const err of problems)
      if (!this.#problems.some((p) => p.message === err.message))
        this.#o.log.warn({ evt: 'identity.trust', err }, 'what was read before counts on')
    this.#problems = problems
    if (!this.#changed(roots, this.#roots) && crlPem === this.#crlPem) return 'same'
    this.#roots = roots
    this.#crlPem = crlPem
    this.#given = new WeakMap()
    this.#o.log.info(
      { evt: 'identity.trust-files', roots: roots.length, crl: crlPem !== undefined },
      'other roots or revocation lists',
    )
    return 'changed'
  }

  #readRoots(): readonly string[] {
    const { rootsFile } = this.#o
    return rootsFile === undefined ? [] : this.#file('identity.extraRoots', rootsFile, rootsIn)
  }
  #readCrl(): string | undefined {
    const { crlFile, crlMayBeMissing, disk } = this.#o
    if (crlFile === undefined) return undefined
    // A list whose file is gone must stay in force: otherwise revoked certificates would be trusted again.
    if (crlMayBeMissing && this.#crlPem === undefined && isMissing(disk, crlFile)) return undefined
    return this.#file('identity.crl', crlFile, (pem) => {
      parseCrls(pem)
      return pem
    })
  }
  #file<T>(setting: string, file: string, parse: (pem: string) => T): T {
    try {
      return parse(this.#read(file).toString('utf8'))
    } catch (cause) {
      throw new MeshError(
        'MESH_CONFIG_INVALID',
        `${setting}: ${file} cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`,
        { cause },
      )
    }
  }
  /** What lies beside certificates that something else renews is that one's. */
  #read(file: string): Buffer {
    const { disk, crlFile, crlMayBeMissing } = this.#o
    if (file !== crlFile || !crlMayBeMissing) return readTrustedFile(disk, file, MAX_FILE_BYTES).bytes
    const bytes = disk.read(file)
    if (!bytes) throw new Error('there is no such file')
    if (bytes.length > MAX_FILE_BYTES) throw new Error(`it is larger than ${MAX_FILE_BYTES} bytes`)
    return bytes
  }
  #changed(a: readonly string[], b: readonly string[]): boolean {
    return a.length !== b.length || a.some((pem, i) => pem !== b[i])
  }
}

/** One that is there and cannot be read is not missing: what it revokes must not be trusted. */
function isMissing(disk: Disk, file: string): boolean {
  try {
    return disk.read(file) === undefined
  } catch {
    return false
  }
}

/** One text a root, in one form, so that equal roots are equal texts. Throws for what is no certificate of a CA. */
function rootsIn(pem: string): string[] {
  const found = parseCertificates(pem, MAX_ROOTS)
  if (found.length === 0) throw new RangeError('there is no certificate')
  if (found.some((c) => !c.ca)) throw new RangeError('a certificate is not that of a CA')
  return found.map((c) => lineEnd(c.toString()))
}
function pems(bundle: string): string[] {
  return parseCertificates(bundle).map((c) => lineEnd(c.toString()))
}
function lineEnd(pem: string): string {
  return pem.endsWith('\n') ? pem : `${pem}\n`
}
