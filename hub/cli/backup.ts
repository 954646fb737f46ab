/** `meshlet-hub backup`: one file with all that a hub cannot make anew, and its configuration. */
import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { MeshError } from '../../core/errors.ts'
import { asOwner } from '../../core/os/as-owner.ts'
import { writeArchive, type ArchivedFile } from '../registry/archive/archive.ts'
import type { ExitCode } from '../../core/cli/exit.ts'
import { loadNativeBinding, noteByOperator, withState } from './open.ts'
import type { Io } from './io.ts'

/** Folders of the archive: the CA with the token key, and the resources. */
export const CA = 'ca/'
export const RESOURCES = 'resources/'
export const CONFIG = 'hub.yaml'
/** Of the resources; more is not a folder of resources. */
const MAX_BYTES = 512 * 1024 * 1024

/** Rejects with MESH_CONFIG_INVALID when the file is there already, MESH_FILE_UNWRITABLE when it cannot be written. */
export async function makeBackup(name: string, o: { readonly config: string }, io: Io): Promise<ExitCode> {
  const whole = path.resolve(name)
  await withState(o, async (state) => {
    const { config, registry, caFolder } = state
    if (fs.existsSync(whole)) throw new MeshError('MESH_CONFIG_INVALID', `${name} is there already; name a new file`)
    for (const folder of [caFolder, config.resources])
      if (whole.startsWith(path.resolve(folder) + path.sep))
        throw new MeshError('MESH_CONFIG_INVALID', `${name} would be part of what is backed up; name a file elsewhere`)
    const beside = `${whole}.new-${randomUUID()}`
    try {
      await noteByOperator(registry, io, { event: 'hub.backup', subject: whole, detail: '' })
      const files = [
        ...asOwner(config.state, () => readFolder(caFolder, CA)),
        ...readFolder(config.resources, RESOURCES),
        { name: CONFIG, content: fs.readFileSync(o.config) },
      ]
      await writeArchive(beside, { registry, files, nativeBinding: loadNativeBinding(config) })
      syncOne(beside)
      fs.renameSync(beside, whole)
      syncOne(path.dirname(whole))
    } catch (cause) {
      if (fs.existsSync(beside)) fs.rmSync(beside)
      throw cause instanceof MeshError && cause.code === 'MESH_CONFIG_INVALID'
        ? cause
        : new MeshError('MESH_FILE_UNWRITABLE', `the backup cannot be written to ${name}`, { cause })
    }
  })
  io.out(`${name}: CA, token key, registry and configuration; keep it as secret as the hub itself\n`)
  return 0
}

function readFolder(folder: string, prefix: string): readonly ArchivedFile[] {
  let bytes = 0
  return fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => {
      const file = path.join(entry.parentPath, entry.name)
      const content = fs.readFileSync(file)
      bytes += content.length
      if (bytes > MAX_BYTES) throw new MeshError('MESH_CONFIG_INVALID', `${folder} holds more than ${MAX_BYTES} bytes`)
      return { name: prefix + path.relative(folder, file), content }
    })
}

/** Synced before it is renamed: after a power cut the backup is complete or absent. */
export function syncOne(name: string): void {
  const handle = fs.openSync(name, 'r')
  try {
    fs.fsyncSync(handle)
  } finally {
    fs.closeSync(handle)
  }
}
