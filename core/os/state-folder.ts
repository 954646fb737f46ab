/**
 * The state folder belongs to the user that meshlet runs as, and to nobody else: what is read there is believed (keys,
 * sessions, the configuration), and what is written there is written with this user's rights. Where somebody else can
 * write, or has written, meshlet does not work. Looked at once, at the start: in a folder of mode 0700 nobody can
 * change that afterwards but this user and root.
 */
import fs, { type Stats } from 'node:fs'
import path from 'node:path'
import { MeshError } from '../errors.ts'

/** `owner or root`: also root, for commands that a person types beside a service. */
export type Who = 'owner' | 'owner or root'

/** What earlier versions executed from there. */
const OLD_CODE = /^(compiled\.bin|sqlite-[0-9a-f]{16}\.node)(\.new)?$/
/** A file system of its own has it, and it is root's. */
const OF_THE_SYSTEM = new Set(['lost+found'])

/**
 * Throws MESH_STATE_UNUSABLE, naming what is wrong with which path. Read and search rights of others are taken away.
 */
export function secureFolder(folder: string, who: Who = 'owner'): void {
  const whole = path.resolve(folder)
  const uid = process.geteuid?.() ?? 0
  for (let parent = path.dirname(whole); ; parent = path.dirname(parent)) {
    const { mode } = fs.statSync(parent)
    if ((mode & 0o1002) === 0o002) refuse(whole, `everybody may rename what lies in ${parent} (mode ${octal(mode)})`)
    if (parent === path.dirname(parent)) break
  }
  // systemd makes one for DynamicUser=, as root.
  const name = fs.lstatSync(whole)
  if (name.isSymbolicLink() && name.uid !== 0 && name.uid !== uid)
    refuse(whole, `it is a symbolic link of user ${name.uid}`)
  const found = fs.statSync(whole)
  if (!found.isDirectory()) refuse(whole, 'it is no folder')
  const owner = found.uid
  if (owner !== uid && !(who === 'owner or root' && uid === 0))
    refuse(whole, `it belongs to user ${owner}, and meshlet runs as user ${uid}`)
  secure(whole, '.', found, owner)
  for (const entry of fs.readdirSync(whole).toSorted()) {
    if (OF_THE_SYSTEM.has(entry)) continue
    const stats = entryOf(whole, entry, owner)
    if (!stats) continue
    if (OLD_CODE.test(entry) && stats.isFile()) {
      fs.rmSync(path.join(whole, entry), { force: true })
      continue
    }
    if (stats.isDirectory())
      for (const below of fs.readdirSync(path.join(whole, entry))) entryOf(whole, path.join(entry, below), owner)
  }
}

/** Undefined: gone meanwhile. */
function entryOf(folder: string, entry: string, owner: number): Stats | undefined {
  const stats = fs.lstatSync(path.join(folder, entry), { throwIfNoEntry: false })
  if (!stats) return undefined
  if (stats.isSymbolicLink()) refuse(folder, `${entry} in it is a symbolic link`)
  // A socket holds nothing that could be read: whoever connects to one looks at it then.
  if (!stats.isFile() && !stats.isDirectory() && !stats.isSocket())
    refuse(folder, `${entry} in it is neither file nor folder`)
  if (stats.uid !== owner)
    refuse(folder, `${entry} in it belongs to user ${stats.uid}, and the folder to user ${owner}`)
  secure(folder, entry, stats, owner)
  return stats
}

function secure(folder: string, entry: string, { mode, uid }: Stats, owner: number): void {
  const what = entry === '.' ? 'in it' : `to ${entry}`
  if (mode & 0o022) refuse(folder, `others may write ${what} (mode ${octal(mode)})`)
  if (mode & 0o055 && uid === owner) fs.chmodSync(path.join(folder, entry), mode & 0o700)
}

function refuse(folder: string, why: string): never {
  throw new MeshError('MESH_STATE_UNUSABLE', `the state directory ${folder} is not safe: ${why}`)
}
const octal = (mode: number): string => (mode & 0o7777).toString(8).padStart(4, '0')
