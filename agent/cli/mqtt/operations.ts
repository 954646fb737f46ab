/** `meshlet mqtt clients|sessions|queues|retained|kick|purge`: pages of the admin port (agent/admin/mqtt-pages.ts). */
import { MeshError } from '../../../core/errors.ts'
import { askAgent } from '../admin-client.ts'
import type { ExitCode } from '../../../core/cli/exit.ts'
import type { Io } from '../io.ts'

export type AdminOption = { readonly admin: string }
export type ListOptions = AdminOption & {
  readonly json: boolean
  readonly limit: string
  readonly after?: string
  readonly prefix?: string
  readonly id?: string
  readonly filter?: string
  readonly payload?: boolean
}
export type PurgeOptions = AdminOption & {
  readonly session?: string
  readonly queue?: string
  readonly retained?: string
}

export async function list(path: string, o: ListOptions, io: Io): Promise<ExitCode> {
  const { json, limit, after, prefix, id, filter } = o
  const query = {
    limit,
    after,
    prefix,
    id,
    filter,
    format: json ? undefined : 'text',
    payload: o.payload ? '1' : undefined,
  }
  return ask('GET', path, { admin: o.admin, query }, io)
}

export function kick(id: string, { admin }: AdminOption, io: Io): Promise<ExitCode> {
  return ask('POST', '/mqtt/kick', { admin, query: { id } }, io)
}

/** @throws MESH_CONFIG_INVALID */
export async function purge({ admin, session, queue, retained }: PurgeOptions, io: Io): Promise<ExitCode> {
  if ([session, queue, retained].filter((one) => one !== undefined).length !== 1)
    throw new MeshError('MESH_CONFIG_INVALID', 'one of --session, --queue and --retained is needed, and only one')
  return ask('POST', '/mqtt/purge', { admin, query: { session, queue, retained } }, io)
}

type Question = { readonly admin: string; readonly query: Readonly<Record<string, string | undefined>> }
/** What the agent refuses goes to standard error. */
async function ask(method: 'GET' | 'POST', path: string, { admin, query }: Question, io: Io): Promise<ExitCode> {
  const text = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value !== undefined) text.set(name, value)
  const { status, body } = await askAgent(admin, method, `${path}?${text.toString()}`)
  if (status < 400) io.out(body)
  else io.err(`meshlet: ${body}`)
  return status === 400 ? 2 : status < 400 ? 0 : 1
}
