/**
 * The roots on disk: the one that signs in two files, and while roots rotate the other one in a third, which says how
 * far that is. Whatever moment a crash comes in, the next reader finds one root that signs with its key.
 */
import path from 'node:path'
import { MeshError } from '../../core/errors.ts'
import type { Disk } from '../../core/os/disk.ts'
import { createRoot, readRoot, type Root } from './root.ts'

export const ROOT_CERTIFICATE_FILE = 'root-cert.pem'
export const ROOT_KEY_FILE = 'root-key.pem'
export const ROTATION_FILE = 'root-rotation.json'

/** `added`: trusted, and will sign. `switched`: has signed, and is still trusted. */
export type OtherRoot = { readonly root: Root; readonly state: 'added' | 'switched'; readonly sinceMs: number }
export type StoredRoots = { readonly signing: Root; readonly other: OtherRoot | undefined }
export type RootFiles = { readonly folder: string; readonly disk: Disk }

type Pems = { readonly certificatePem: string; readonly keyPem: string }
/** `next`: the switch to it has begun. */
type Rotation = OtherPems & { readonly next?: Pems }
type OtherPems = Pems & { readonly state: OtherRoot['state']; readonly sinceMs: number }

/** Undefined: there is none yet. Throws MESH_CA_DAMAGED, MESH_STATE_UNUSABLE. */
export function readRoots(p: RootFiles): StoredRoots | undefined {
  const rotation = readRotation(p)
  if (rotation?.next) finishSwitch(p, rotation, rotation.next)
  const signing = readSigning(p)
  if (!signing) return undefined
  if (!rotation) return { signing, other: undefined }
  const { state, sinceMs } = rotation
  return { signing, other: { root: readRoot(rotation.certificatePem, rotation.keyPem), state, sinceMs } }
}

/** All that are trusted, the one that signs first. */
export function listRoots({ signing, other }: StoredRoots): readonly Root[] {
  return other ? [signing, other.root] : [signing]
}

/** Another one after each step; undefined: there is one root. Throws MESH_STATE_UNUSABLE. */
export function readRotationText(p: RootFiles): string | undefined {
  return readFile(p, ROTATION_FILE)
}

/** The first one. Throws MESH_STATE_UNUSABLE. */
export function makeRoot(p: RootFiles & { readonly trustDomain: string; readonly notBeforeMs: number }): Root {
  const { root, keyPem } = createRoot(p)
  writing(p, () => {
    p.disk.makeFolder(p.folder, 0o700)
    writeSigning(p, { certificatePem: root.certificatePem, keyPem })
  })
  return root
}

/** Step one: a second root, which everybody is to trust before it signs. Throws MESH_CONFIG_INVALID, MESH_STATE_UNUSABLE. */
export function addRoot(
  p: RootFiles & { readonly trustDomain: string; readonly notBeforeMs: number; readonly nowMs: number },
): Root {
  if (readRoots(p)?.other) throw new MeshError('MESH_CONFIG_INVALID', 'there are two roots already: switch or drop')
  const { root, keyPem } = createRoot(p)
  const { certificatePem } = root
  writing(p, () => writeRotation(p, { state: 'added', sinceMs: p.nowMs, certificatePem, keyPem }))
  return root
}

/** Step two: the second root signs, the first is trusted on. Throws as `addRoot`. */
export function signWithNext(p: RootFiles & { readonly nowMs: number }): void {
  const rotation = readRotation(p)
  if (rotation?.state !== 'added')
    throw new MeshError('MESH_CONFIG_INVALID', 'there is no second root to switch to; add one')
  const before = { certificatePem: readFile(p, ROOT_CERTIFICATE_FILE)!, keyPem: readFile(p, ROOT_KEY_FILE)! }
  const { certificatePem, keyPem } = rotation
  const begun = { ...before, state: 'switched', sinceMs: p.nowMs } as const
  writing(p, () => writeRotation(p, { ...begun, next: { certificatePem, keyPem } }))
  finishSwitch(p, begun, { certificatePem, keyPem })
}

/** The end: of two roots only the one that signs is trusted. Throws as `addRoot`. */
export function removeOther(p: RootFiles): void {
  if (!readRotation(p)) throw new MeshError('MESH_CONFIG_INVALID', 'there is one root; it is not dropped')
  writing(p, () => p.disk.remove(path.join(p.folder, ROTATION_FILE)))
}

function finishSwitch(p: RootFiles, { certificatePem, keyPem, state, sinceMs }: OtherPems, next: Pems): void {
  writing(p, () => {
    writeSigning(p, next)
    writeRotation(p, { certificatePem, keyPem, state, sinceMs })
  })
}

function readSigning(p: RootFiles): Root | undefined {
  const [certificate, key] = [readFile(p, ROOT_CERTIFICATE_FILE), readFile(p, ROOT_KEY_FILE)]
  // A key alone is what a crash on the first start leaves: nobody has seen its certificate yet.
  if (certificate === undefined) return undefined
  if (key === undefined)
    throw new MeshError('MESH_CA_DAMAGED', `${p.folder} holds ${ROOT_CERTIFICATE_FILE} but no ${ROOT_KEY_FILE}`)
  return readRoot(certificate, key)
}
function writeSigning({ folder, disk }: RootFiles, { certificatePem, keyPem }: Pems): void {
  disk.replace(path.join(folder, ROOT_KEY_FILE), keyPem, 0o600)
  disk.replace(path.join(folder, ROOT_CERTIFICATE_FILE), certificatePem, 0o644)
}

function readRotation(p: RootFiles): Rotation | undefined {
  const text = readRotationText(p)
  if (text === undefined) return undefined
  try {
    const rotation = JSON.parse(text) as Rotation
    const { state, sinceMs, certificatePem, keyPem } = rotation
    readRoot(certificatePem, keyPem)
    if ((state === 'added' || state === 'switched') && Number.isSafeInteger(sinceMs)) return rotation
  } catch {
    /* told below */
  }
  throw new MeshError('MESH_CA_DAMAGED', `${path.join(p.folder, ROTATION_FILE)} cannot be read`)
}
function writeRotation({ folder, disk }: RootFiles, rotation: Rotation): void {
  disk.replace(path.join(folder, ROTATION_FILE), JSON.stringify(rotation), 0o600)
}

function readFile({ folder, disk }: RootFiles, name: string): string | undefined {
  const file = path.join(folder, name)
  try {
    return disk.read(file)?.toString('utf8')
  } catch (cause) {
    throw new MeshError('MESH_STATE_UNUSABLE', `${file} cannot be read`, { cause })
  }
}
function writing({ folder }: RootFiles, work: () => void): void {
  try {
    work()
  } catch (cause) {
    throw new MeshError('MESH_STATE_UNUSABLE', `the CA cannot be written to ${folder}`, { cause })
  }
}
