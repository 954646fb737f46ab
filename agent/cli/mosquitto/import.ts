/**
 * `meshlet mqtt import mosquitto.conf` writes an agent.yaml that does the same, the clusters of its bridges beside it,
 * and passwords into separate files with mode 0600. Each line that has no equivalent is reported with what to do about
 * it.
 */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { MeshError } from '../../../core/errors.ts'
import { systemDisk } from '../../../core/os/disk.ts'
import { toYaml } from '../../config/to-yaml.ts'
import type { ExitCode } from '../../../core/cli/exit.ts'
import type { Io } from '../io.ts'
import { type Blocks, sortLines } from './blocks.ts'
import { convertBridge, type SecretFile } from './bridges.ts'
import { convertListeners } from './listeners.ts'
import { readConf, type Files } from './read.ts'
import { Report } from './report.ts'
import { convertSettings, type Settings } from './settings.ts'

export type ImportOptions = { readonly output?: string; readonly force: boolean }

const DEFAULT_FOLDER = '/etc/meshlet'
const CLUSTERS = 'resources/bridges.json'

/** @returns 0: everything was taken; 1: something was left out, and told */
export async function runImport(file: string, o: ImportOptions, io: Io): Promise<ExitCode> {
  const folder = o.output === undefined ? DEFAULT_FOLDER : path.dirname(path.resolve(o.output))
  const { config, clusters, secrets, report } = convert(file, folder, realFiles, os.hostname())
  const yaml = `# Made by meshlet mqtt import from ${file}\n${toYaml(config)}`
  if (o.output === undefined) io.out(yaml)
  else write(o.output, folder, { yaml, clusters, secrets }, o.force)
  for (const { kind, line, text } of report.remarks)
    io.err(`${line.file}:${line.number}: ${line.name}: ${kind === 'left' ? 'left out: ' : ''}${text}\n`)
  if (o.output === undefined && clusters.length + secrets.length > 0)
    io.err(`${file}: its bridges need files beside agent.yaml, which -o writes\n`)
  const left = report.remarks.filter(({ kind }) => kind === 'left').length
  io.err(`${file}: ${left === 0 ? 'everything was taken' : `${left} lines were left out`}\n`)
  return left === 0 ? 0 : 1
}

const realFiles: Files = {
  read: (file) => systemDisk.read(file),
  list: (folder) => fs.readdirSync(folder),
}

export type Converted = {
  readonly config: object
  readonly clusters: readonly object[]
  readonly secrets: readonly SecretFile[]
  readonly report: Report
}

/**
 * @param folder where agent.yaml will be
 * @param hostName of the machine that the file is of, which client ids of its bridges begin with
 */
export function convert(file: string, folder: string, files: Files, hostName: string): Converted {
  const report = new Report()
  const blocks = sortLines(readConf(file, files), report)
  const settings = convertSettings(blocks, report)
  const listeners = convertListeners(blocks, settings, report)
  const bridges = blocks.bridges
    .map((block) => convertBridge(block, { secretsFolder: `${folder}/secrets`, hostName }, report))
    .filter((one) => one !== undefined)
  const config = {
    directory: `${folder}/resources`,
    listeners,
    mqtt: {
      ...usersOf(settings),
      ...(settings.aclFile === undefined ? {} : { aclFile: settings.aclFile }),
      // mosquitto acknowledges what a client of 3.1.1 may not publish.
      ...(hasAcls(blocks) ? { deniedPublishes: 'acknowledge' } : {}),
      ...(settings.logsToTopics ? { logTopics: true } : {}),
      ...(settings.queuesQos0 ? { queueQos0Messages: true } : {}),
      ...(settings.upgradesQos ? { upgradeOutgoingQos: true } : {}),
      ...(settings.sysIntervalSec === undefined ? {} : { sysIntervalSec: settings.sysIntervalSec }),
      limits: settings.limits,
      ...(bridges.length === 0
        ? {}
        : { routes: bridges.flatMap(({ routes }) => routes), bridges: bridges.map(({ bridge }) => bridge) }),
    },
    ...(settings.maxQueuedMemoryBytes === undefined
      ? {}
      : { limits: { maxQueuedMemoryBytes: settings.maxQueuedMemoryBytes } }),
  }
  return {
    config,
    report,
    clusters: bridges.flatMap((one) => one.clusters),
    secrets: bridges.flatMap(({ secrets }) => secrets),
  }
}

function hasAcls({ global, listeners }: Blocks): boolean {
  return [...global, ...listeners.flatMap(({ lines }) => lines)].some(({ name }) => name === 'acl_file')
}

function usersOf({ passwordFile, pskFile, certificateUser }: Settings): object {
  const users = { passwordFile, pskFile, certificateUser }
  const given = Object.entries(users).filter(([, value]) => value !== undefined)
  return given.length === 0 ? {} : { users: Object.fromEntries(given) }
}

/** agent.yaml last: who starts the agent in between finds no half of it. */
function write(
  output: string,
  folder: string,
  { yaml, clusters, secrets }: Pick<Converted, 'clusters' | 'secrets'> & { readonly yaml: string },
  isForced: boolean,
): void {
  const to = new Map<string, { readonly content: string; readonly mode: number }>()
  for (const { name, content } of secrets) to.set(`${folder}/secrets/${name}`, { content, mode: 0o600 })
  if (clusters.length > 0)
    to.set(`${folder}/${CLUSTERS}`, { content: `${JSON.stringify({ resources: clusters }, null, 1)}\n`, mode: 0o644 })
  to.set(path.resolve(output), { content: yaml, mode: 0o644 })
  const there = [...to.keys()].filter((file) => systemDisk.has(file))
  if (there.length > 0 && !isForced)
    throw new MeshError('MESH_CONFIG_INVALID', `${there.join(', ')} is there already; --force writes over it`)
  systemDisk.makeFolder(`${folder}/resources`, 0o755)
  if (secrets.length > 0) systemDisk.makeFolder(`${folder}/secrets`, 0o700)
  for (const [file, { content, mode }] of to) systemDisk.replace(file, content, mode)
}
