/** `meshlet mqtt setaside …`: what upstream brokers did not take. */
import type { Finish } from '../../../core/cli/run.ts'
import { type Command, Option } from 'commander'
import { askAgent } from '../admin-client.ts'
import type { ExitCode } from '../../../core/cli/exit.ts'
import { DEFAULT_ADMIN, type Io } from '../io.ts'

type Common = { readonly admin: string; readonly json: boolean }
type Queue = { readonly session: string; readonly messages: number; readonly bytes: number }
type Entry = { readonly seq: number; readonly topic: string; readonly qos: number; readonly payloadBytes: number }

export function addSetAsideCommands(mqtt: Command, io: Io, done: Finish): void {
  const aside = mqtt.command('setaside').description('messages that upstream brokers did not take')
  const command = (usage: string, description: string): Command =>
    aside
      .command(usage)
      .description(description)
      .addOption(new Option('--admin <address:port>', 'admin port of the running agent').default(DEFAULT_ADMIN))
      .addOption(new Option('--json', 'as JSON').default(false))
  command('list', 'sessions with how many').action(async (o: Common) =>
    done(ask(io, o, 'GET', '', (all: readonly Queue[]) => all.map(formatQueue))),
  )
  command('show <session>', 'the first hundred of a session (CLUSTER/CLIENT-ID), with their numbers')
    .option('--after <number>', 'those behind this number', '0')
    .action(async (session: string, o: Common & { readonly after: string }) =>
      done(
        ask(io, o, 'GET', `?${inQuery({ session, after: o.after })}`, (all: readonly Entry[]) => all.map(formatEntry)),
      ),
    )
  for (const [name, description] of [
    ['purge', 'throw them away: all of a session, or those with the numbers'],
    ['requeue', 'give them to the upstream broker once more: all of a session, or those with the numbers'],
  ] as const)
    command(`${name} <session> [numbers...]`, description).action(
      async (session: string, numbers: readonly string[], o: Common) =>
        done(
          ask(io, o, 'POST', `/${name}?${inQuery({ session, seq: numbers })}`, ({ messages }: Queue) => [
            `${messages} messages`,
          ]),
        ),
    )
}

/** @param format lines for a person of what the agent answers */
async function ask<T>(
  io: Io,
  { admin, json }: Common,
  method: 'GET' | 'POST',
  path: string,
  format: (answer: T) => readonly string[],
): Promise<ExitCode> {
  const { status, body } = await askAgent(admin, method, `/mqtt/setaside${path}`)
  if (status >= 400) {
    io.err(body.trimEnd())
    return 1
  }
  // The agent's own answer to this page.
  const lines = json ? [] : format(JSON.parse(body) as T)
  io.out(json ? body : lines.length === 0 ? 'nothing is set aside\n' : `${lines.join('\n')}\n`)
  return 0
}

const formatQueue = ({ session, messages, bytes }: Queue): string => `${session}: ${messages} messages, ${bytes} bytes`
const formatEntry = ({ seq, topic, qos, payloadBytes }: Entry): string =>
  `${seq}  ${topic}  QoS ${qos}, ${payloadBytes} bytes`

function inQuery(values: Readonly<Record<string, string | readonly string[]>>): string {
  const query = new URLSearchParams()
  for (const [name, all] of Object.entries(values)) for (const one of [all].flat()) query.append(name, one)
  return query.toString()
}
