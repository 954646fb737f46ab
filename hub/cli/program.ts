/** The subcommands of `meshlet-hub`, with the help that should suffice. Each action loads its own file. */
import { Option, type Command } from 'commander'
import { runCommandLine, type Finish } from '../../core/cli/run.ts'
import type { AuditOptions } from './audit.ts'
import { addConnect } from './connect/commands.ts'
import { addConsole } from './console/commands.ts'
import { addDevice, addDevices, addWatch } from './devices/commands.ts'
import { addHubOption } from './hub-option.ts'
import type { Io } from './io.ts'
import type { MigrateOptions } from './store.ts'
import {
  buildConfigOption as config,
  buildJsonOption as json,
  buildStoreOption,
  parseCount as count,
  parseLabel as label,
  parseSeconds,
} from './options.ts'
import { addRevision, addRollout } from './rollout/commands.ts'
import type { CreateOptions } from './token.ts'

/** @returns the exit code: 0 ok, 1 failed, 2 wrong usage. `run` returns when the hub has stopped. */
export async function runCli(argv: readonly string[], io: Io): Promise<number> {
  const add = (program: Command, done: Finish): void => {
    addInit(program, io, done)
    addRun(program, io, done)
    addToken(program, io, done)
    addDevices(program, io, done)
    addDevice(program, io, done)
    addWatch(program, io, done)
    addConnect(program, io, done)
    addRoots(program, io, done)
    addRevision(program, io, done)
    addRollout(program, io, done)
    addBackup(program, io, done)
    addStore(program, io, done)
    addAudit(program, io, done)
    addConsole(program, io, done)
    addVersion(program, io, done)
    addStoreOption(program)
    addHubOption(program, io)
  }
  return await runCommandLine({ ...HUB, add }, argv, io)
}

const HUB = {
  name: 'meshlet-hub',
  description:
    'A small control plane with its own CA: configuration for meshlet agents and Envoys from a folder of resources.',
  firstSteps: 'meshlet-hub init, meshlet-hub run, meshlet-hub token create, meshlet-hub devices',
} as const

function addInit(program: Command, io: Io, done: Finish): void {
  program
    .command('init')
    .description('write hub.yaml and a folder of commented Istio YAML that a hub serves at once; overwrites nothing')
    .argument('[folder]', 'where', '.')
    .action(async (folder: string) => done((await import('./init.ts')).writeExample(folder, io)))
}

function addRun(program: Command, io: Io, done: Finish): void {
  program
    .command('run')
    .description('start the hub; runs until SIGTERM or SIGINT')
    .addOption(config())
    .action(async (o: { config: string }) => done((await import('./run.ts')).run(o, io)))
}

function addToken(program: Command, io: Io, done: Finish): void {
  const token = program.command('token').description('join tokens: what a device shows once to belong to the fleet')
  addTokenCreate(token, io, done)
  token
    .command('list')
    .description('all tokens, newest first, with the devices that joined with each')
    .addOption(config())
    .addOption(json())
    .action(async (o: { config: string; json: boolean }) => done((await import('./token.ts')).list(o, io)))
  token
    .command('revoke')
    .description('end a token now, and the renewals of what joined with it and has no key of its own')
    .argument('<id>', 'id as `token list` shows it')
    .addOption(config())
    .action(async (id: string, o: { config: string }) => done((await import('./token.ts')).revoke(id, o, io)))
}

function addTokenCreate(token: Command, io: Io, done: Finish): void {
  token
    .command('create')
    .description('make a token and print it on standard output; it is shown nowhere else')
    .addOption(config())
    .addOption(json())
    .requiredOption('-n, --namespace <ns>', 'namespace that the device joins')
    .requiredOption('-s, --service-account <sa>', 'service account that the device becomes')
    .option(
      '--name <name>',
      'name that the device has, which is also its folder of resources; with --count, {n} counts',
    )
    .option('--name-pattern <pattern>', "names that devices may have, e.g. 'gw-*'")
    .addOption(new Option('--node <name>', 'as --name, or as --name-pattern').hideHelp())
    .option('--count <n>', 'so many tokens, for one device each', count)
    .option('--out <file>', 'write a table (id,name,token,expires) to a new file of mode 0600')
    .option('--uses <n>', 'how many devices may join with it; default: any number, with --count 1', count)
    .addOption(new Option('--max-uses <n>', 'as --uses').argParser(count).hideHelp())
    .option('--ttl <duration>', 'life, e.g. 30m, 24h, 7d; default: tokenTtlSec of hub.yaml', parseSeconds(60))
    .option('--cidr <range>', 'address or range that its bearer must come from; may be repeated', collect, [])
    .option('-l, --label <key=value>', 'label of its devices; may be repeated', label, {})
    .option('--approval', 'who joins with it waits for `meshlet-hub device approve`', false)
    .action(async ({ node, maxUses, ...o }: CreateOptions & { node?: string; maxUses?: number }) =>
      done(
        (await import('./token.ts')).create(
          {
            ...o,
            ...(maxUses === undefined ? {} : { uses: maxUses }),
            ...(node === undefined ? {} : node.includes('*') ? { namePattern: node } : { name: node }),
          },
          io,
        ),
      ),
    )
}

function addRoots(program: Command, io: Io, done: Finish): void {
  const roots = program.command('roots').description('the root certificates, and how another one takes their place')
  roots
    .command('print', { isDefault: true })
    .description('print them, which every device needs as control.roots')
    .addOption(config())
    .action(async (o: { config: string }) => done((await import('./roots.ts')).printRoots(o, io)))
  roots
    .command('status')
    .description('which roots are trusted, which one signs, and for whom the next step waits')
    .addOption(config())
    .addOption(json())
    .action(async (o: { config: string; json: boolean }) => done((await import('./roots.ts')).printRootStatus(o, io)))
  for (const [step, description] of [
    ['add', 'another root begins: a second one is made and trusted, and signs nothing yet'],
    ['switch', 'the second root signs; refused while devices have not heard of it'],
    ['drop', 'the root that signed before is trusted no more; refused while its certificates count'],
  ] as const) {
    const command = roots.command(step).description(description).addOption(config())
    if (step !== 'add')
      command.option('--anyway', 'leave those behind that are not ready: they would have to join again')
    command.action(async (o: { config: string; anyway?: boolean }) =>
      done((await import('./roots.ts')).rotate(step, o, io)),
    )
  }
}

function addBackup(program: Command, io: Io, done: Finish): void {
  program
    .command('backup')
    .description('put CA, token key, registry and configuration into one new file, beside a hub that may be running')
    .argument('<file>', 'must not exist')
    .addOption(config())
    .action(async (file: string, o: { config: string }) => done((await import('./backup.ts')).makeBackup(file, o, io)))
  program
    .command('restore')
    .description('put the state of a backup in the place of what is there, while the hub is stopped')
    .argument('<file>', 'of `meshlet-hub backup`')
    .addOption(config())
    .action(async (file: string, o: { config: string }) =>
      done((await import('./restore.ts')).restoreBackup(file, o, io)),
    )
}

function addStore(program: Command, io: Io, done: Finish): void {
  program
    .command('store')
    .description('where the registry is')
    .command('migrate')
    .description('move the registry from its file into an empty PostgreSQL, while the hub is stopped')
    .addOption(config())
    .requiredOption(
      '--to <url>',
      'postgres://USER@HOST/DATABASE?sslmode=verify-full&sslrootcert=FILE, without a password',
    )
    .option('--password-file <file>', 'file with the password; default: PGPASSFILE, or none')
    .action(async (o: MigrateOptions) => done((await import('./store.ts')).migrateStore(o, io)))
}

function addAudit(program: Command, io: Io, done: Finish): void {
  program
    .command('audit')
    .description('who did what and when: tokens, joins, approvals, revocations, clones, restores')
    .addOption(config())
    .addOption(new Option('-o, --output <form>', 'form').choices(['table', 'json']).default('table'))
    .option('--last <n>', 'the newest so many', count, 1_000)
    .option('--of <subject>', 'of one device, of one token, revision or rollout by its id')
    .action(async (o: AuditOptions) => done((await import('./audit.ts')).printAudit(o, io)))
}

function addVersion(program: Command, io: Io, done: Finish): void {
  program
    .command('version')
    .description('version, build and platform')
    .addOption(json())
    .action(async (o: { json: boolean }) => done((await import('./version.ts')).printVersion(o, io)))
}

/** Whoever reads hub.yaml may be told of another registry; to move one, `--to` says where. */
function addStoreOption(command: Command): void {
  for (const one of command.commands) addStoreOption(one)
  const reads = command.options.some(({ long }) => long === '--config')
  if (reads && command.name() !== 'migrate') command.addOption(buildStoreOption())
}

const collect = (text: string, before: readonly string[]): readonly string[] => [...before, text]
