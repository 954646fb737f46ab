/** `meshlet-hub backup`: one folder with all that a hub cannot make anew. */
import fs from 'node:fs'
import path from 'node:path'
import { MeshError } from '../../agent/core/errors.ts'
import type { ExitCode } from './exit.ts'
import { withState } from './open.ts'
import type { Io } from './program.ts'

/** Rejects with MESH_CONFIG_INVALID when the folder is there already, MESH_STATE_UNUSABLE when it cannot be written. */
export async function backup(folder: string, o: { readonly config: string }, io: Io): Promise<ExitCode> {
  withState(o.config, ({ config, registry }) => {
    if (fs.existsSync(folder)) throw new MeshError('MESH_CONFIG_INVALID', `${folder} is there already; name a new folder`)
    const beside = `${folder}.new`
    try {
      fs.mkdirSync(beside, { mode: 0o700 })
      fs.cpSync(path.join(config.state, 'ca'), path.join(beside, 'ca'), { recursive: true })
      registry.copyTo(path.join(beside, 'registry.db'))
      fs.chmodSync(path.join(beside, 'registry.db'), 0o600)
      fs.renameSync(beside, folder)
    } catch (cause) {
      fs.rmSync(beside, { recursive: true, force: true })
      throw cause instanceof MeshError ? cause : new MeshError('MESH_STATE_UNUSABLE', `the backup cannot be written to ${folder}`, { cause })
    }
  })
  io.out(`${folder}: CA, token key and registry; keep it as secret as the hub itself\n`)
  return 0
}
