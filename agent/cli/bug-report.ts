/**
 * What somebody needs who helps from afar, in one archive: status, configuration in force, clusters, certificates,
 * counters and agent.yaml. Keys, passwords and tokens are left out; an agent that does not answer is told, and the rest
 * is there all the same.
 */
import zlib from 'node:zlib'
import type { ExitCode } from '../../core/cli/exit.ts'
import { createTar, type TarEntry } from '../../core/cli/tar.ts'
import { toMeshError } from '../../core/errors.ts'
import { systemClock } from '../../core/os/clock.ts'
import { systemDisk } from '../../core/os/disk.ts'
import { askAgent } from './admin-client.ts'
import { DEFAULT_CONFIG, type Io } from './io.ts'
import { redactJson, redactText } from './redact.ts'
import { VERSION } from './version.ts'

export type BugReportOptions = {
  readonly admin: string
  readonly config?: string | undefined
  readonly output?: string | undefined
}

/** Pages of the admin port, and under which name they lie in the archive. */
const PAGES: Readonly<Record<string, string>> = {
  'status.json': '/status',
  'config_dump.json': '/config_dump',
  'clusters.json': '/clusters?format=json',
  'certs.json': '/certs',
  'metrics.txt': '/stats/prometheus',
}

/** Writes the archive for its owner alone, and prints where it is. */
export async function writeBugReport(o: BugReportOptions, io: Io): Promise<ExitCode> {
  const made = new Date(systemClock.wallMs())
  const missing: string[] = []
  const entries: TarEntry[] = []
  for (const [name, page] of Object.entries(PAGES)) {
    try {
      const { body } = await askAgent(o.admin, 'GET', page)
      entries.push({ name, content: name.endsWith('.json') ? redactJson(body) : redactText(body) })
    } catch (thrown) {
      const { code, message } = toMeshError(thrown)
      missing.push(`${name}: ${code}: ${message}`)
    }
  }
  const file = o.config ?? DEFAULT_CONFIG
  try {
    const text = systemDisk.read(file)?.toString('utf8')
    if (text === undefined) missing.push(`agent.yaml: there is no file ${file}`)
    else entries.push({ name: 'agent.yaml', content: redactText(text) })
  } catch (thrown) {
    missing.push(`agent.yaml: ${toMeshError(thrown).message}`)
  }
  const about = {
    name: 'about.json',
    content: JSON.stringify({ made: made.toISOString(), version: VERSION, missing }, null, 2),
  }
  const output = o.output ?? `meshlet-bug-report-${made.toISOString().replace(/[:.]/g, '-')}.tar.gz`
  systemDisk.replace(output, zlib.gzipSync(createTar([about, ...entries], made)), 0o600)
  io.out(
    `${output}\nKeys, passwords and tokens are left out; names of hosts, addresses and routes are in it. For the log: journalctl -u meshlet --since -1h\n${missing.map((m) => `missing: ${m}\n`).join('')}`,
  )
  return 0
}
