/**
 * Names and stamps of the resource files of a folder: those at its top are everybody's, those in `<folder>/<node>/` are
 * one node's.
 */
import fs from 'node:fs'
import path from 'node:path'
import { MeshError } from '../../core/errors.ts'

/** More are a mistake, and would take seconds to look at. */
export const MAX_FILES = 10_000

/** It may not lead out of the folder. */
function mustBeFolderName(node: string): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$/.test(node))
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      `${JSON.stringify(node.slice(0, 64))} cannot be the name of a node's folder`,
    )
}

/**
 * Relative to the folder: shared ones, then the node's own, each group in alphabetical order. Throws
 * MESH_CONFIG_INVALID when there is no such folder, or `node` is no name of one.
 */
export function listFiles(folder: string, node: string | undefined): string[] {
  if (node !== undefined) mustBeFolderName(node)
  const shared = namesIn(folder)
  if (!shared) throw new MeshError('MESH_CONFIG_INVALID', `there is no readable folder ${folder}`)
  const own = node === undefined ? [] : (namesIn(path.join(folder, node)) ?? []).map((name) => path.join(node, name))
  return [...shared, ...own]
}

function namesIn(folder: string): string[] | undefined {
  try {
    return fs
      .readdirSync(folder)
      .filter((name) => /^[^.].*\.(ya?ml|json)$/is.test(name))
      .toSorted()
  } catch {
    return undefined
  }
}

/**
 * Differs when the file was written, replaced or led elsewhere (a ConfigMap's symbolic links). Undefined for what
 * cannot be looked at.
 */
export function stampFile(file: string): string | undefined {
  const s = statOf(file)
  return s && makeStamp(s)
}
export function makeStamp(s: fs.Stats): string {
  return `${s.dev} ${s.ino} ${s.size} ${s.mtimeMs} ${s.ctimeMs}`
}

function statOf(file: string): fs.Stats | undefined {
  try {
    return fs.statSync(file, { throwIfNoEntry: false })
  } catch {
    return undefined
  }
}
