/** `meshlet config check`: everything that can be known about the configuration without starting anything. */
import { checkFolder } from '../../control-sync/directory/check.ts'
import { findCaptureProblem } from '../config/capture.ts'
import { findPortMistakes, findPortNotes } from '../config/ports.ts'
import { createListeners } from '../config/listeners.ts'
import { collectAclFiles } from '../mqtt-policies.ts'
import { MAX_ACL_FILE_BYTES, parseAclFile } from '../../protocols/mqtt/authorization/acl-file.ts'
import { MAX_FILE_BYTES, parsePasswordFile } from '../../protocols/mqtt/users/password-file.ts'
import { MAX_PSK_FILE_BYTES, parsePskFile } from '../../protocols/mqtt/users/psk-file.ts'
import type { AgentConfig } from '../config/schema.ts'
import { systemClock } from '../../core/os/clock.ts'
import { systemDisk } from '../../core/os/disk.ts'
import { decodeUtf8, readTrustedFile } from '../../core/os/files/trusted-file.ts'
import { TimeSlice } from '../../core/os/time-slice.ts'
import { toMeshError } from '../../core/errors.ts'
import { escapeForTerminal } from '../../core/printable.ts'
import type { ExitCode } from '../../core/cli/exit.ts'
import type { Io } from './io.ts'
import { readConfig, type ConfigSource } from './read-config.ts'

/** `notes`: what may be right on the device, or later. */
type Report = {
  readonly mistakes: readonly string[]
  readonly notes: readonly string[]
  readonly ignored: readonly string[]
  readonly counts: Readonly<Record<string, number>>
}

/**
 * 0: it can be used. 2: there are mistakes; all of them are listed. Rejects with MESH_CONFIG_INVALID for those of
 * agent.yaml itself.
 */
export async function checkConfig(o: ConfigSource & { readonly json: boolean }, io: Io): Promise<ExitCode> {
  const { config, from, ignored } = readConfig(o, systemDisk, io.env)
  const found = await check(config)
  const report = { ...found, ignored: [...ignored, ...captured(config), ...found.ignored] }
  if (o.json) io.out(`${JSON.stringify(report)}\n`)
  else io.out(escapeForTerminal(text(from, report)))
  return report.mistakes.length === 0 ? 0 : 2
}

async function check(config: AgentConfig): Promise<Report> {
  const mistakes: string[] = findPortMistakes(config)
  const notes: string[] = findPortNotes(config, systemDisk)
  const mustExist = (setting: string, file: string | undefined): void => {
    if (file === undefined) return
    try {
      if (!systemDisk.read(file)) mistakes.push(`${setting}: there is no file ${file}`)
    } catch {
      mistakes.push(`${setting}: ${file} cannot be read`)
    }
  }
  mustExist('control.roots', config.control?.roots)
  const token = config.control?.token
  if (token !== undefined && !exists(token))
    notes.push(
      `control.token: there is no file ${token}; it is needed until the first certificate is there (meshlet join --token)`,
    )
  for (const name of ['passwordFile', 'pskFile'] as const) {
    const file = config.mqtt.users?.[name]
    if (file === undefined) continue
    if (!exists(file)) notes.push(`mqtt.users.${name}: there is no file ${file}; nobody gets in by it until there is`)
    else {
      const found = await findUsersProblems(name, file)
      mistakes.push(...found.mistakes)
      notes.push(...found.notes)
    }
  }
  for (const name of config.identity.folder !== undefined ? ['cert-chain.pem', 'key.pem', 'root-cert.pem'] : [])
    mustExist('identity.folder', `${config.identity.folder}/${name}`)
  for (const name of ['encryptionKey', 'extraRoots', 'crl'] as const)
    mustExist(`identity.${name}`, config.identity[name])
  const listeners = createListeners(config, { disk: systemDisk, findPskKey: () => undefined })
  for (const file of new Set(collectAclFiles(listeners))) {
    mistakes.push(...(await findAclMistakes(file)))
  }
  for (const { prepare } of listeners) {
    try {
      prepare?.()
    } catch (thrown) {
      mistakes.push(toMeshError(thrown).message)
    }
  }
  const counts: Record<string, number> = { listeners: config.listeners.length, mqttRoutes: config.mqtt.routes.length }
  if (config.directory === undefined) return { mistakes, notes, ignored: [], counts }
  try {
    const found = await checkFolder(config.directory, config.node.name)
    return {
      mistakes: [...mistakes, ...found.problems],
      notes,
      ignored: found.ignored,
      counts: { ...counts, ...found.counts },
    }
  } catch (thrown) {
    return { mistakes: [...mistakes, toMeshError(thrown).message], notes, ignored: [], counts }
  }
}

async function findAclMistakes(file: string): Promise<string[]> {
  try {
    const { bytes } = readTrustedFile(systemDisk, file, MAX_ACL_FILE_BYTES)
    await parseAclFile(decodeUtf8(bytes), new TimeSlice(systemClock))
    return []
  } catch (thrown) {
    return [`mqtt.aclFile: ${file}: ${toMeshError(thrown).message}`]
  }
}

/** Of one that is there. What is not ours to read may be the service's. */
async function findUsersProblems(
  name: 'passwordFile' | 'pskFile',
  file: string,
): Promise<Pick<Report, 'mistakes' | 'notes'>> {
  const place = `mqtt.users.${name}: ${file}`
  try {
    const { bytes } = readTrustedFile(systemDisk, file, name === 'pskFile' ? MAX_PSK_FILE_BYTES : MAX_FILE_BYTES)
    const { problems } = await PARSERS[name](decodeUtf8(bytes), new TimeSlice(systemClock))
    return { mistakes: [], notes: problems.map((problem) => `${place}: ${problem}`) }
  } catch (thrown) {
    const isUnreadable = (thrown as NodeJS.ErrnoException).code === 'EACCES'
    return { mistakes: isUnreadable ? [] : [`${place}: ${toMeshError(thrown).message}`], notes: [] }
  }
}
const PARSERS = { passwordFile: parsePasswordFile, pskFile: parsePskFile }

function exists(file: string): boolean {
  try {
    return systemDisk.read(file) !== undefined
  } catch {
    return true
  }
}

function captured(config: AgentConfig): string[] {
  // What `transparent` needs only the service has: meshlet status tells.
  const problem = config.capture === 'redirect' ? findCaptureProblem(config, undefined) : undefined
  return problem ? [problem.message] : []
}

function text(file: string, { mistakes, notes, ignored, counts }: Report): string {
  const list = (title: string, lines: readonly string[]): string =>
    lines.length === 0 ? '' : `${title}\n${lines.map((l) => `  ${l}\n`).join('')}`
  const has = Object.entries(counts)
    .filter(([, n]) => n > 0)
    .map(([name, n]) => `${n} ${name}`)
    .join(', ')
  return (
    `${file}: ${mistakes.length === 0 ? `no mistake found${has && ` (${has})`}` : `${mistakes.length} mistake${mistakes.length === 1 ? '' : 's'}`}\n` +
    list('Mistakes:', mistakes) +
    list('To be seen to:', notes) +
    list('Not acted upon by meshlet:', ignored)
  )
}
