import type { Reloaded } from '../reload/reloader.ts'
import { askAgent } from './admin-client.ts'
import type { ExitCode } from '../../core/cli/exit.ts'
import type { Io } from './io.ts'

/** 0 when the new agent.yaml is in force, but for what needs a restart; 1 when the old one is. */
export async function askForReload(o: { readonly admin: string; readonly json: boolean }, io: Io): Promise<ExitCode> {
  const { status, body } = await askAgent(o.admin, 'POST', '/reload')
  if (status >= 400) {
    io.err(body.trimEnd())
    return 1
  }
  io.out(o.json ? body : toText(JSON.parse(body) as Reloaded))
  return 0
}

function toText({ applied, needsRestart, reasons }: Reloaded): string {
  if (applied.length + needsRestart.length === 0) return 'nothing has changed\n'
  const lines = [
    ...(applied.length > 0 ? [`in force: ${applied.join(', ')}`] : []),
    ...needsRestart.map((setting) => `from the next start on: ${setting} (${reasons[setting]})`),
  ]
  return `${lines.join('\n')}\n`
}
