/** `meshlet mqtt clients|sessions|queues|retained|kick|purge` on the command line. */
import type { Finish } from '../../../core/cli/run.ts'
import type { Command } from 'commander'
import type { Io } from '../io.ts'
import type { AdminOption, ListOptions, PurgeOptions } from './operations.ts'

const DEFAULT_ADMIN = '127.0.0.1:15000'

/** Those that ask the running agent. */
export function addOperations(mqtt: Command, io: Io, done: Finish): void {
  const admin = (c: Command): Command =>
    c.option('--admin <address:port>', 'admin port of the running agent', DEFAULT_ADMIN)
  const paged = (c: Command): Command =>
    admin(c)
      .option('--json', 'one JSON document instead of text', false)
      .option('--limit <n>', 'at most so many', '100')
      .option('--after <name>', 'those behind this one: the next page')
  const lists = {
    clients: ['clients that are connected', '/mqtt/clients'],
    sessions: ['sessions, also of clients that are away', '/mqtt/sessions'],
    queues: ['what waits on the disk, for whom', '/mqtt/queues'],
  } as const
  for (const [name, [description, path]] of Object.entries(lists)) {
    const command = paged(mqtt.command(name).description(description)).option('--prefix <text>', 'names that begin so')
    if (name === 'sessions') command.option('--id <client id>', 'this one, with its subscriptions')
    command.action(async (o: ListOptions) => done((await import('./operations.ts')).list(path, o, io)))
  }
  paged(mqtt.command('retained').description('retained messages'))
    .option('-t, --filter <filter>', 'of these topics')
    .option('--payload', 'with their payloads, in base64')
    .action(async (o: ListOptions) => done((await import('./operations.ts')).list('/mqtt/retained', o, io)))
  admin(mqtt.command('kick').description('disconnect a client'))
    .argument('<client id>')
    .action(async (id: string, o: AdminOption) => done((await import('./operations.ts')).kick(id, o, io)))
  admin(mqtt.command('purge').description('delete a session, what waits in a queue, or retained messages'))
    .option('--session <client id>', 'the session with all that waits for it')
    .option('--queue <name>', 'what waits in this queue')
    .option('--retained <filter>', 'retained messages of these topics')
    .action(async (o: PurgeOptions) => done((await import('./operations.ts')).purge(o, io)))
}
