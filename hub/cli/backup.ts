/** `meshlet-hub backup`: one folder with all that a hub cannot make anew. */
import fs from 'node:fs'
import path from 'node:path'
import { MeshError } from '../../core/errors.ts'
import type { ExitCode } from '../../core/cli/exit.ts'
import { withState } from './open.ts'
import type { Io } from './io.ts'

/** Rejects with MESH_CONFIG_INVALID when the folder is there already, MESH_STATE_UNUSABLE when it cannot be written. */
export async function makeBackup(folder: string, o: { readonly config: string }, io: Io): Promise<ExitCode> {
  const whole = path.resolve(folder)
  withState(o.config, ({ config, registry }) => {
    if (fs.existsSync(whole))
      throw new MeshError('MESH_CONFIG_INVALID', `${folder} is there already; name a new folder`)
    // A name that does not exist yet, so that only what this command has made is deleted when it fails.
    let beside: string | undefined
    try {
      beside = fs.mkdtempSync(`${whole}.new-`)
      fs.cpSync(path.join(config.state, 'ca'), path.join(beside, 'ca'), { recursive: true })
      registry.copyTo(path.join(beside, 'registry.db'))
      fs.chmodSync(path.join(beside, 'registry.db'), 0o600)
      syncAll(beside)
      fs.renameSync(beside, whole)
    } catch (cause) {
      if (beside !== undefined) fs.rmSync(beside, { recursive: true, force: true })
      throw cause instanceof MeshError
        ? cause
        : new MeshError('MESH_STATE_UNUSABLE', `the backup cannot be written to ${folder}`, { cause })
    }
  })
  io.out(`${folder}: CA, token key and registry; keep it as secret as the hub itself\n`)
  return 0
}

/** Synced before it is renamed: after a power cut the backup is complete or absent. */
function syncAll(folder: string): void {
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const name = path.join(folder, entry.name)
    if (entry.isDirectory()) syncAll(name)
    else syncOne(name)
  }
  syncOne(folder)
}

function syncOne(name: string): void {
  const handle = fs.openSync(name, 'r')
  try {
    fs.fsyncSync(handle)
  } finally {
    fs.closeSync(handle)
  }
}
