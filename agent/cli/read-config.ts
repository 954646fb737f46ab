import type { Disk } from '../core/disk.ts'
import { MeshError } from '../core/errors.ts'
import { configError, loadConfig } from '../config/load.ts'
import type { AgentConfig } from '../config/schema.ts'
import type { Io } from './io.ts'

/** Throws MESH_CONFIG_INVALID, naming every line that is wrong. `${CREDENTIALS_DIRECTORY}` becomes systemd's folder. */
export function readConfig(file: string, disk: Disk, env: Io['env']): AgentConfig {
  const text = readText(file, disk)
  const credentials = env['CREDENTIALS_DIRECTORY']
  if (credentials === undefined && /^[^#]*\$\{CREDENTIALS_DIRECTORY\}/m.test(text)) {
    throw new MeshError('MESH_CONFIG_INVALID', `${file} uses \${CREDENTIALS_DIRECTORY}, which is set only under systemd with LoadCredential=`)
  }
  const loaded = loadConfig(credentials === undefined ? text : text.replaceAll('${CREDENTIALS_DIRECTORY}', credentials))
  if (!loaded.ok) throw configError(file, loaded.problems)
  return loaded.config
}

function readText(file: string, disk: Disk): string {
  let content: Buffer | undefined
  try { content = disk.read(file) } catch (cause) { throw new MeshError('MESH_CONFIG_INVALID', `${file} cannot be read`, { cause }) }
  if (!content) throw new MeshError('MESH_CONFIG_INVALID', `there is no file ${file}; --config names another`)
  return content.toString('utf8')
}
