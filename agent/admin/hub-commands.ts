/** What a device answers its hub (control.commands): the same that its own command line would say. */
import zlib from 'node:zlib'
import { createTar } from '../../core/cli/tar.ts'
import { MeshError } from '../../core/errors.ts'
import type { Clock } from '../../core/os/clock.ts'
import type { CommandAnswer, CommandRequest } from '../../model/fleet/command.ts'
import type { AdminPage } from './server.ts'
import { formatStatus } from './status-text.ts'
import type { AgentStatus } from './status.ts'
import { redactJson, redactText } from '../cli/redact.ts'
import type { AgentIdentity } from '../identity.ts'
import type { Reloader } from '../reload/reloader.ts'

export type HubCommandParts = {
  readonly clock: Clock
  readonly status: () => AgentStatus
  /** Of the admin port. */
  readonly pages: ReadonlyMap<string, AdminPage>
  /** Of the log; undefined: nobody keeps them. */
  readonly recentLines: ((most: number) => readonly string[]) | undefined
  readonly identity: Pick<AgentIdentity, 'certificateRefused'>
  readonly reloader: Pick<Reloader, 'reload'>
  /** Ends the connection to the hub, a moment later. */
  readonly reconnect: () => void
}

const PAGES = ['/status', '/config_dump', '/certs', '/stats/prometheus']

export async function runHubCommand(request: CommandRequest, p: HubCommandParts): Promise<CommandAnswer> {
  switch (request.command) {
    case 'status':
      return text(formatStatus(p.status()))
    case 'logs':
      if (!p.recentLines) throw new MeshError('MESH_CONTROL_UNIMPLEMENTED', 'this device keeps no lines of its log')
      return text(redactText(p.recentLines(request.lines).join('')))
    case 'reconnect':
      p.reconnect()
      return text('the connection to the hub ends, and the next one follows\n')
    case 'renew':
      p.identity.certificateRefused()
      return text('a new certificate is asked for\n')
    case 'reload': {
      const { applied, needsRestart } = await p.reloader.reload()
      return text(
        `in force: ${applied.join(', ') || 'nothing new'}${needsRestart.length > 0 ? `; after a restart: ${needsRestart.join(', ')}` : ''}\n`,
      )
    }
    case 'bug-report':
      return await makeBugReport(p)
  }
}

async function makeBugReport({ pages, clock }: HubCommandParts): Promise<CommandAnswer> {
  const made = new Date(clock.wallMs())
  const entries = await Promise.all(
    PAGES.map(async (path) => {
      const reply = await pages.get(path)?.handle(new URLSearchParams())
      const body = String(reply?.body ?? '')
      const isJson = path !== '/stats/prometheus'
      return {
        name: `${path.slice(1).replaceAll('/', '-')}.${isJson ? 'json' : 'txt'}`,
        content: isJson ? redactJson(body) : redactText(body),
      }
    }),
  )
  const content = zlib.gzipSync(createTar(entries, made)).toString('base64')
  return { form: 'file', name: `meshlet-bug-report-${made.toISOString().replace(/[:.]/g, '-')}.tar.gz`, content }
}

const text = (said: string): CommandAnswer => ({ form: 'text', text: said })
