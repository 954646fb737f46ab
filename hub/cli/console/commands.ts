/** `meshlet-hub login` and `meshlet-hub sessions`: who may use the console. */
import { InvalidArgumentError, Option, type Command } from 'commander'
import type { ExitCode } from '../../../core/cli/exit.ts'
import type { Finish } from '../../../core/cli/run.ts'
import { MeshError } from '../../../core/errors.ts'
import { isNamespace } from '../../tokens.ts'
import type { Io } from '../io.ts'
import { buildConfigOption as config } from '../options.ts'
import type { EndOptions, ListOptions } from './sessions.ts'
import type { RemoteOptions } from './remote-login.ts'
import type { LoginOptions } from './login.ts'

export function addConsole(program: Command, io: Io, done: Finish): void {
  program
    .command('login')
    .description('print a link to the console that is good for one login; with --hub, use one on this machine')
    .addOption(config())
    .addOption(
      new Option('--role <role>', 'what whoever opens it may')
        .choices(['viewer', 'operator', 'admin'])
        .default('admin'),
    )
    .option('-n, --namespace <ns>', 'in this namespace alone; may be repeated', collectNamespace, [])
    .option('--name <name>', 'for somebody else, as the audit log will name them', operatorName)
    .option('--ttl <duration>', 'life of the link, e.g. 10m, 1h', seconds, DEFAULT_TTL_SEC)
    .option('--ca-file <file>', 'with --hub: certificates (PEM) that the hub is known by; default: those of the system')
    .option(
      '--ca-pin <sha256:hex>',
      "with --hub: hash of the hub's root, as `meshlet join` has it; may be repeated",
      (pin: string, before: readonly string[]) => [...before, pin],
      [],
    )
    .option('--oidc', 'with --hub: by the issuer of the console, in a browser of this machine', false)
    .option('--device-code', 'with --hub: the same in a browser of any machine, by a code (RFC 8628)', false)
    .action(async (o: LoginOptions & RemoteLoginOptions, command: Command) => done(logIn(o, command, io)))
  program
    .command('logout')
    .description('end the session at a hub on another machine, and forget it here')
    .action(async (o: { hub?: string }) => done(logOut(o, io)))
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

type RemoteLoginOptions = RemoteOptions & { readonly hub?: string }

/** Throws MESH_CONFIG_INVALID for options of the other kind of login. */
async function logIn(o: LoginOptions & RemoteLoginOptions, command: Command, io: Io): Promise<ExitCode> {
  const { hub } = o
  const others = hub === undefined ? ['caFile', 'caPin', 'oidc', 'deviceCode'] : ['role', 'namespace', 'name', 'ttl']
  if (others.some((name) => command.getOptionValueSource(name) === 'cli'))
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      hub === undefined
        ? '--ca-file, --ca-pin, --oidc and --device-code are for a hub on another machine: --hub says which'
        : 'what a link permits is said where it is printed, on the hub; --hub takes one',
    )
  if (hub === undefined) return (await import('./login.ts')).makeLogin(o, io)
  return (await import('./remote-login.ts')).logIn(hub, o, io)
}

async function logOut({ hub }: { readonly hub?: string }, io: Io): Promise<ExitCode> {
  if (hub === undefined) throw new MeshError('MESH_CONFIG_INVALID', 'logout needs --hub, or MESHLET_HUB')
  return (await import('./remote-login.ts')).logOut(hub, io)
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
