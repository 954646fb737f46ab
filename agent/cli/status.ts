import { formatStatus } from '../admin/status-text.ts'
import type { AgentStatus } from '../admin/status.ts'
import { askAgent } from './admin-client.ts'
import type { ExitCode } from '../../core/cli/exit.ts'
import type { Io } from './io.ts'

/** For health checks: 0 when the agent serves, whatever else is wrong. */
export async function checkReady(admin: string, io: Io): Promise<ExitCode> {
  return printPage(admin, 'GET', '/ready', io)
}

/** 0 when nothing is wrong, 1 when something is (so that scripts may ask). */
export async function printStatus(o: { readonly admin: string; readonly json: boolean }, io: Io): Promise<ExitCode> {
  const { body } = await askAgent(o.admin, 'GET', '/status')
  const parsed = JSON.parse(body) as AgentStatus
  io.out(o.json ? body : formatStatus(parsed))
  return parsed.problems.length === 0 ? 0 : 1
}

/** Prints one page of the admin port. */
export async function printPage(admin: string, method: 'GET' | 'POST', path: string, io: Io): Promise<ExitCode> {
  const { status: code, body } = await askAgent(admin, method, path)
  io.out(body)
  return code < 400 ? 0 : 1
}
