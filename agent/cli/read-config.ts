import path from 'node:path'
import type { Disk } from '../../core/os/disk.ts'
import { MeshError } from '../../core/errors.ts'
import type { Layer } from '../../core/yaml.ts'
import { readIstioFolder } from '../config/istio-folder.ts'
import { configError, loadConfig } from '../config/load.ts'
import { readEnvSettings } from '../config/node-env.ts'
import type { AgentConfig } from '../config/schema.ts'
import { DEFAULT_CONFIG, type Io } from './io.ts'

/**
 * `config`: agent.yaml. `istio`: the folder with istioctl's five files, which agent.yaml overrides where it is named
 * too.
 */
export type ConfigSource = { readonly config?: string | undefined; readonly istio?: string | undefined }
export type ReadConfig = {
  readonly config: AgentConfig
  /** For messages. */
  readonly from: string
  /** Places in Istio's files that are not acted upon. */
  readonly ignored: readonly string[]
}

const ENVIRONMENT = 'the environment'

/**
 * Throws MESH_CONFIG_INVALID, naming every line that is wrong. `${CREDENTIALS_DIRECTORY}` becomes systemd's folder, and
 * without systemd the file's own.
 */
export function readConfig(source: ConfigSource, disk: Disk, env: Io['env']): ReadConfig {
  const istio = source.istio === undefined ? undefined : readIstioFolder(source.istio, disk)
  if (istio && istio.problems.length > 0) throw configError(source.istio!, istio.problems)
  const file = source.config ?? (istio ? undefined : DEFAULT_CONFIG)
  const from = file ?? source.istio!
  const loaded = loadConfig(file === undefined ? '' : withCredentials(readText(file, disk), file, env), {
    beneath: istio,
    above: environmentLayer(env),
  })
  if (!loaded.ok) throw configError(from, loaded.problems)
  return { config: loaded.config, from, ignored: istio?.ignored ?? [] }
}

/** ISTIO_META_… of the environment stands above agent.yaml, so that one file serves many nodes. */
function environmentLayer(env: Io['env']): Layer {
  const set = Object.entries(env).filter((e): e is [string, string] => e[1] !== undefined)
  const { node, capture, origins, problems } = readEnvSettings(set)
  if (problems.length > 0)
    throw configError(
      ENVIRONMENT,
      problems.map(({ variable, problem }) => ({ line: 0, path: variable, problem })),
    )
  return {
    settings: { ...(Object.keys(node).length > 0 ? { node } : {}), ...(capture === undefined ? {} : { capture }) },
    originOf(path) {
      const variable = origins.get(path.map(String).join('.'))
      return variable === undefined ? undefined : { file: `${ENVIRONMENT}, ${variable}`, line: 0 }
    },
  }
}

/**
 * Outside of the service, for a person who checks or joins, the credentials are where the unit takes them from: beside
 * agent.yaml.
 */
function withCredentials(text: string, file: string, env: Io['env']): string {
  const credentials = env['CREDENTIALS_DIRECTORY']
  // systemd sets an absolute path or nothing. An empty value would turn ${CREDENTIALS_DIRECTORY}/token into /token.
  return text.replaceAll(
    '${CREDENTIALS_DIRECTORY}',
    credentials === undefined || credentials === '' ? path.dirname(path.resolve(file)) : credentials,
  )
}

function readText(file: string, disk: Disk): string {
  let content: Buffer | undefined
  try {
    content = disk.read(file)
  } catch (cause) {
    throw new MeshError('MESH_CONFIG_INVALID', `${file} cannot be read`, { cause })
  }
  if (!content) throw new MeshError('MESH_CONFIG_INVALID', `there is no file ${file}; --config names another`)
  return content.toString('utf8')
}
