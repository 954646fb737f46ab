/**
 * The subcommands of `meshlet`, with the help that should suffice. Each action loads its own file, so that `run` starts
 * fast.
 */
import { Option, type Command } from 'commander'
import { runCommandLine, type Finish } from '../../core/cli/run.ts'
import { systemDisk } from '../../core/os/disk.ts'
import { bundle } from '../../core/runtime/bundle.ts'
import { startWorker } from '../../core/storage/thread-handle.ts'
import { DEFAULT_ADMIN, DEFAULT_CONFIG, type Io } from './io.ts'
import { addMqttCommands } from './mqtt/commands.ts'
import type { BugReportOptions } from './bug-report.ts'
import type { JoinHubOptions } from './join-hub.ts'
import type { ConfigSource } from './read-config.ts'

const json = (): Option => new Option('--json', 'one JSON document instead of text').default(false)
const admin = (): Option =>
  new Option('--admin <address:port>', 'admin port of the running agent').default(DEFAULT_ADMIN)
const config = (): Option =>
  new Option('-c, --config <file>', `configuration file (default: ${DEFAULT_CONFIG}, with --istio none)`)
const istio = (): Option =>
  new Option(
    '--istio <folder>',
    'folder with the files of `istioctl x workload entry configure`; --config overrides what they say',
  )

/**
 * @returns 0 ok, 1 failed, 2 wrong usage; `mqtt` may return what mosquitto's clients would. `run` returns when the agent
 * has stopped. Never rejects.
 */
export async function runCli(argv: readonly string[], io: Io): Promise<number> {
  const add = (program: Command, done: Finish): void => {
    addRun(program, io, done)
    addJoin(program, io, done)
    addStatus(program, io, done)
    addConfig(program, io, done)
    addMqttCommands(program, io, done)
    addReload(program, io, done)
    addDrain(program, io, done)
    addPrecompile(program, io, done)
    addBugReport(program, io, done)
    addVersion(program, io, done)
  }
  return await runCommandLine({ ...MESHLET, add }, argv, io)
}

const MESHLET = {
  name: 'meshlet',
  description: 'Puts this machine into an Istio mesh: HTTP, gRPC, TCP and MQTT over mTLS, with or without the link.',
  firstSteps: 'meshlet config check, meshlet join, meshlet run, meshlet status',
} as const

function addRun(program: Command, io: Io, done: Finish): void {
  program
    .command('run')
    .description('start the agent; runs until SIGTERM or SIGINT, which drain it')
    .addOption(config())
    .addOption(istio())
    .action(async (o: ConfigSource) => {
      // The thread comes up while the agent is loaded.
      const worker = startWorker(bundle)
      await done((await import('./run.ts')).run(o, io, worker))
    })
}

function addJoin(program: Command, io: Io, done: Finish): void {
  program
    .command('join')
    .description('enroll this machine with a join token, then stop: at a hub it gets a key of its own, and agent.yaml')
    .argument('[url]', 'https://HOST[:PORT] of the hub; without it, the control plane of the configuration is asked')
    .addOption(config())
    .addOption(istio())
    .option(
      '--token <file>',
      'file with the join token, `-` for standard input; default: the one that the configuration names',
    )
    .option(
      '--ca-pin <sha256:hex>',
      "hash of the hub's root; default: what the token says; may be repeated",
      collect,
      [],
    )
    .option(
      '--name <name>',
      'name of the device, where the token is for several; default: that of agent.yaml or the host',
    )
    .addOption(json())
    .action(async (url: string | undefined, o: ConfigSource & JoinHubOptions) =>
      done(
        url === undefined
          ? (await import('./join.ts')).join(o, io)
          : (await import('./join-hub.ts')).joinHub(url, o, io),
      ),
    )
}

const collect = (text: string, before: readonly string[]): readonly string[] => [...before, text]

function addStatus(program: Command, io: Io, done: Finish): void {
  program
    .command('status')
    .description('what the agent does, how old its configuration is, and what is wrong')
    .addOption(admin())
    .addOption(json())
    .option('--ready', 'only whether it serves, for health checks', false)
    .action(async (o: { admin: string; json: boolean; ready: boolean }) =>
      done(import('./status.ts').then((m) => (o.ready ? m.checkReady(o.admin, io) : m.printStatus(o, io)))),
    )
}

function addConfig(program: Command, io: Io, done: Finish): void {
  const conf = program.command('config').description('look at the configuration')
  conf
    .command('check')
    .description(
      'read agent.yaml and, in directory mode, the resources; list every mistake and every setting that is not acted upon',
    )
    .addOption(config())
    .addOption(istio())
    .addOption(json())
    .action(async (o: ConfigSource & { json: boolean }) => done((await import('./config-check.ts')).checkConfig(o, io)))
  conf
    .command('dump')
    .description("the running configuration in Envoy's config_dump format")
    .addOption(admin())
    .action(async (o: { admin: string }) =>
      done((await import('./status.ts')).printPage(o.admin, 'GET', '/config_dump', io)),
    )
}

function addReload(program: Command, io: Io, done: Finish): void {
  program
    .command('reload')
    .description('let the running agent read agent.yaml again; tells what is in force and what needs a restart')
    .addOption(admin())
    .addOption(json())
    .action(async (o: { admin: string; json: boolean }) => done((await import('./reload.ts')).askForReload(o, io)))
}

function addDrain(program: Command, io: Io, done: Finish): void {
  program
    .command('drain')
    .description('let the running agent finish what is open and stop')
    .addOption(admin())
    .action(async (o: { admin: string }) =>
      done((await import('./status.ts')).printPage(o.admin, 'POST', '/drain', io)),
    )
}

function addPrecompile(program: Command, io: Io, done: Finish): void {
  program
    .command('precompile')
    .description(
      'after installing, as root: put what a start needs compiled and unpacked beside the bundle, where the agent cannot write',
    )
    .action(async () => done((await import('./precompile.ts')).precompile(systemDisk, io)))
}

function addBugReport(program: Command, io: Io, done: Finish): void {
  program
    .command('bug-report')
    .description('one archive for whoever helps: status, configuration, clusters, counters; without keys and passwords')
    .addOption(config())
    .addOption(admin())
    .option('-o, --output <file>', 'the archive (.tar.gz); default: one with the time in its name, in this folder')
    .action(async (o: BugReportOptions) => done((await import('./bug-report.ts')).writeBugReport(o, io)))
}

function addVersion(program: Command, io: Io, done: Finish): void {
  program
    .command('version')
    .description('version, build and platform')
    .addOption(json())
    .action(async (o: { json: boolean }) => done((await import('./version.ts')).printVersion(o, io)))
}
