/** A folder with agent.yaml and what it names, for commands that are run once. */
import fs from 'node:fs'
import path from 'node:path'
import { temporaryFolder } from '../helpers/temporary-folder.ts'
import type { Finally } from './site.ts'

export type Machine = { folder: string; file: string; state: string; write(yaml: string): void }
/** For directory mode, with its resources, and what the test adds. */
export function machine(t: Finally, yaml = ''): Machine {
  const folder = temporaryFolder(t)
  const [file, state] = [path.join(folder, 'agent.yaml'), path.join(folder, 'state')]
  fs.mkdirSync(path.join(folder, 'resources'))
  const write = (more: string): void => {
    const own = /^(directory|control|state|admin):/m
    const base = { directory: `${folder}/resources`, state, admin: '{port: 0}', log: '{level: fatal}' }
    const has = new Set(more.split('\n').flatMap((l) => own.exec(l)?.[1] ?? []))
    if (has.has('control')) has.add('directory')
    fs.writeFileSync(
      file,
      Object.entries(base)
        .filter(([k]) => !has.has(k))
        .map(([k, v]) => `${k}: ${v}\n`)
        .join('') + more,
    )
  }
  write(yaml)
  return { folder, file, state, write }
}
