/**
 * What stands where in the resources folder: files at its top are for every device, those in `@site=north/` for devices
 * with that label (several labels with commas: all of them), those in a folder of a device's name for that device.
 */
import fs from 'node:fs'
import path from 'node:path'
import { MeshError } from '../../core/errors.ts'
import type { TimeSlice } from '../../core/os/time-slice.ts'
import { toPrintable } from '../../core/printable.ts'
import { findLabelProblem } from '../enrollment/labels.ts'
import type { Labels } from '../registry/enrollments.ts'
import { isNodeName } from '../registry/node-names.ts'

/** Of devices and labels. More are a mistake, and would take long to look at. */
export const MAX_FILES = 50_000
const LABELS = '@'
const FILE = /^[^.].*\.(ya?ml|json)$/is

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
  const files: string[] = []
  const folders = [folder]
  const problems: string[] = []
  const take = (within: string, { name }: fs.Dirent): void => {
    if (!FILE.test(name)) return
    const file = path.join(within, name)
    // A list of files has a line for each.
    if (toPrintable(name) === name) files.push(file)
    else problems.push(`${toPrintable(file)}: its name holds characters that nobody sees; rename it`)
  }
  for (const entry of top) take('', entry)
  for (const { name } of top) {
    if (slice.due) await slice.yield()
    const within = path.join(folder, name)
    if (FILE.test(name) || !isFolder(within)) continue
    const problem = findFolderProblem(name, within)
    if (problem !== undefined) problems.push(`${toPrintable(name)}/: ${problem}`)
    if (problem !== undefined || !(isNodeName(name) || name.startsWith(LABELS))) continue
    folders.push(within)
    for (const entry of readEntries(within) ?? []) take(name, entry)
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

/** @param within the folder itself; one that holds no resources may have any name (lost+found) */
function findFolderProblem(name: string, within: string): string | undefined {
  if (!name.startsWith(LABELS)) {
    const isOurs = !isNodeName(name) && (readEntries(within) ?? []).some((entry) => FILE.test(entry.name))
    return isOurs
      ? "holds resources and has no device's name, so that they are for nobody: rename it, or move them elsewhere"
      : undefined
  }
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
