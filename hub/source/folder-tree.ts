/**
 * What stands where in the resources folder: files at its top are for every device, those in `@site=north/` for devices
 * with that label (several labels with commas: all of them), those in a folder of a device's name for that device.
 */
import fs from 'node:fs'
import path from 'node:path'
import { MeshError } from '../../core/errors.ts'
import type { TimeSlice } from '../../core/os/time-slice.ts'
import { findLabelProblem } from '../enrollment/labels.ts'
import type { Labels } from '../registry/enrollments.ts'
import { isNodeName } from '../registry/node-names.ts'

/** Of devices and labels. More are a mistake, and would take long to look at. */
export const MAX_FILES = 50_000
const LABELS = '@'
const FILE = /^[^.].*\.(ya?ml|json)$/i

export type Tree = {
  /** Relative to the folder, those at its top first. */
  readonly files: readonly string[]
  /** All folders that have to be watched, whole. */
  readonly folders: readonly string[]
  readonly problems: readonly string[]
}

/** Rejects with MESH_CONFIG_INVALID when there is no such folder. */
export async function listTree(folder: string, slice: TimeSlice): Promise<Tree> {
  const top = readEntries(folder)
  if (!top) throw new MeshError('MESH_CONFIG_INVALID', `there is no readable folder ${folder}`)
  const files = top.filter(({ name }) => FILE.test(name)).map(({ name }) => name)
  const folders = [folder]
  const problems: string[] = []
  for (const { name } of top) {
    if (slice.due) await slice.yield()
    const within = path.join(folder, name)
    if (FILE.test(name) || !isFolder(within)) continue
    const problem = findFolderProblem(name)
    if (problem !== undefined) problems.push(`${name}/: ${problem}`)
    if (problem !== undefined || !(isNodeName(name) || name.startsWith(LABELS))) continue
    folders.push(within)
    for (const entry of readEntries(within) ?? []) if (FILE.test(entry.name)) files.push(path.join(name, entry.name))
  }
  return { files, folders, problems }
}

/** Undefined: it is no folder of labels. */
export function parseLabelFolder(name: string): Labels | undefined {
  if (!name.startsWith(LABELS)) return undefined
  return Object.fromEntries(
    name
      .slice(LABELS.length)
      .split(',')
      .map((part) => {
        const at = part.indexOf('=')
        return at < 0 ? [part, ''] : [part.slice(0, at), part.slice(at + 1)]
      }),
  )
}

function findFolderProblem(name: string): string | undefined {
  if (!name.startsWith(LABELS)) return undefined
  if (
    name
      .slice(LABELS.length)
      .split(',')
      .some((part) => !/^[^=]+=/.test(part))
  )
    return 'expected @KEY=VALUE, or several of them with commas, for devices with these labels'
  return findLabelProblem(parseLabelFolder(name)!)
}

function readEntries(folder: string): readonly fs.Dirent[] | undefined {
  try {
    return fs.readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))
  } catch {
    return undefined
  }
}
/** Also by a symbolic link, as in a ConfigMap; what begins with a dot belongs to whoever put it there. */
function isFolder(file: string): boolean {
  if (path.basename(file).startsWith('.')) return false
  return fs.statSync(file, { throwIfNoEntry: false })?.isDirectory() ?? false
}
