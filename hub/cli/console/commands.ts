/** `meshlet-hub login` and `meshlet-hub sessions`: who may use the console. */
import { InvalidArgumentError, Option, type Command } from 'commander'
import type { Finish } from '../../../core/cli/run.ts'
import { isNamespace } from '../../tokens.ts'
import type { Io } from '../io.ts'
import { buildConfigOption as config } from '../options.ts'
import type { EndOptions, ListOptions } from './sessions.ts'
import type { LoginOptions } from './login.ts'

export function addConsole(program: Command, io: Io, done: Finish): void {
  program
    .command('login')
    .description('print a link to the console that is good for one login')
    .addOption(config())
    .addOption(
      new Option('--role <role>', 'what whoever opens it may')
        .choices(['viewer', 'operator', 'admin'])
        .default('admin'),
    )
    .option('-n, --namespace <ns>', 'in this namespace alone; may be repeated', collectNamespace, [])
    .option('--name <name>', 'for somebody else, as the audit log will name them', operatorName)
    .option('--ttl <duration>', 'life of the link, e.g. 10m, 1h', seconds, DEFAULT_TTL_SEC)
    .action(async (o: LoginOptions) => done((await import('./login.ts')).makeLogin(o, io)))
  const sessions = program
    .command('sessions')
    .enablePositionalOptions()
    .description('who is logged in to the console')
    .addOption(config())
    .option('--json', 'one JSON document instead of text', false)
    .action(async (o: ListOptions) => done((await import('./sessions.ts')).listSessions(o, io)))
  sessions
    .command('end')
    .description('end all sessions of somebody, and links that are not used')
    .argument('<who>', 'as `sessions` shows it')
    .addOption(config())
    .action(async (who: string, o: EndOptions) => done((await import('./sessions.ts')).endSessions(who, o, io)))
}

const DEFAULT_TTL_SEC = 600
const MAX_TTL_SEC = 86_400
const UNIT_SEC: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 }

function seconds(text: string): number {
  const [, digits, unit] = /^(\d{1,5})([smhd])$/.exec(text) ?? []
  const sec = Number(digits) * (UNIT_SEC[unit ?? ''] ?? Number.NaN)
  if (!(sec >= 30 && sec <= MAX_TTL_SEC))
    throw new InvalidArgumentError('must be a duration between 30s and 1d, e.g. 10m')
  return sec
}
function collectNamespace(text: string, before: readonly string[]): readonly string[] {
  if (!isNamespace(text)) throw new InvalidArgumentError('must be a namespace: lower-case letters, digits and -')
  return [...before, text]
}
function operatorName(text: string): string {
  if (!/^[\w.@+-]{1,64}$/.test(text)) throw new InvalidArgumentError('must be letters, digits and ._@+-, at most 64')
  return text
}
