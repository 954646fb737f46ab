/** `meshlet-hub init` */
import fs from 'node:fs'
import path from 'node:path'
import type { ExitCode } from '../../core/cli/exit.ts'
import { MeshError } from '../../core/errors.ts'
import { writeFirstFiles } from './first-files.ts'
import type { Io } from './io.ts'

/** Overwrites nothing: where one of the files is there, none is written. Rejects with MESH_CONFIG_INVALID. */
export async function writeExample(folder: string, io: Io): Promise<ExitCode> {
  const root = path.resolve(folder)
  const files = writeFirstFiles(root)
  const there = files.filter(({ name }) => fs.existsSync(path.join(root, name))).map(({ name }) => name)
  if (there.length > 0)
    throw new MeshError('MESH_CONFIG_INVALID', `${root} has ${there.join(', ')} already; nothing was written`)
  for (const { name, text } of files) {
    const file = path.join(root, name)
    try {
      await fs.promises.mkdir(path.dirname(file), { recursive: true })
      await fs.promises.writeFile(file, text, { flag: 'wx', mode: 0o644 })
    } catch (cause) {
      throw new MeshError('MESH_CONFIG_INVALID', `${file} cannot be written`, { cause })
    }
    io.out(`wrote ${file}\n`)
  }
  const config = path.join(root, 'hub.yaml')
  io.out(`
Next:
  meshlet-hub run -c ${config}
  meshlet-hub token create -c ${config} -n edge -s gateway --name edge-1
  meshlet-hub roots -c ${config}
`)
  return 0
}
