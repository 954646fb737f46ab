/** The subcommands about devices, with their help. */
import { Argument, Option, type Command } from 'commander'
import type { Finish } from '../../../core/cli/run.ts'
import { COMMANDS, type CommandName } from '../../../model/fleet/command.ts'
import type { Io } from '../io.ts'
import type { AskOptions } from './ask.ts'
import { describeFields } from '../../reports/fields.ts'
import {
  buildConfigOption as config,
  buildJsonOption as json,
  parseCount as count,
  parseLabel as label,
} from '../options.ts'
import type { DevicesOptions } from './devices.ts'
import type { WatchOptions } from './watch.ts'

const HELP = `
Fields of --where:
${describeFields()}
  label.KEY   text     a label
Comparisons: = != < <= > >= and ~ with * and ?; and, or, not, brackets. A time is -10m (ago), +3d or 2026-11-24;
none is what is not known. Example: --where 'connected=true and (problems>0 or ends<+3d) and label.site=north'`

const labels = (what: string): Option => new Option('-l, --label <key=value>', what).argParser(label).default({}, 'any')

export function addDevices(program: Command, io: Io, done: Finish): void {
  const devices = program
    .command('devices')
    .enablePositionalOptions()
    .description('nodes that have connected: whether they are now, the configuration in force, what is wrong')
    .addOption(config())
    .addOption(json())
    .addOption(new Option('-o, --output <form>', 'form').choices(['table', 'json', 'csv']))
    .addOption(labels('those with this label; may be repeated'))
    .option('-w, --where <question>', "e.g. 'connected=false and seen<-10m'")
    .option('--limit <n>', 'the first so many', count)
    .action(async (o: DevicesOptions) => done((await import('./devices.ts')).printDevices(o, io)))
  devices.addHelpText('after', HELP)
  devices
    .command('forget')
    .description('free a node name for another device or identity')
    .argument('<name>', 'name of the node')
    .addOption(config())
    .action(async (name: string, o: { config: string }) => done((await import('./devices.ts')).forget(name, o, io)))
}

export function addDevice(program: Command, io: Io, done: Finish): void {
  const device = program.command('device').description('one device: how it is, and whether it may come in')
  device
    .command('show')
    .description('all that is known of a device: configuration, report, history, problems and what to do')
    .argument('<name>', 'name of the device')
    .addOption(config())
    .addOption(new Option('-o, --output <form>', 'form').choices(['text', 'json']).default('text'))
    .action(async (name: string, o: { config: string; output: 'text' | 'json' }) =>
      done((await import('./show.ts')).showDevice(name, o, io)),
    )
  addQuestions(device, io, done)
  addAdmission(device, io, done)
}

/** What goes over the relay to the device, as far as its agent.yaml permits. */
function addQuestions(device: Command, io: Io, done: Finish): void {
  const ask = async (name: string, command: CommandName, o: AskOptions): Promise<void> =>
    done((await import('./ask.ts')).ask(name, command, o, io))
  device
    .command('status')
    .description('what `meshlet status` says there, now')
    .argument('<name>', 'name of the device')
    .addOption(config())
    .action(async (name: string, o: AskOptions) => ask(name, 'status', o))
  device
    .command('logs')
    .description('the last lines of its log')
    .argument('<name>', 'name of the device')
    .addOption(config())
    .option('--lines <n>', 'so many at most', count, 100)
    .action(async (name: string, o: AskOptions) => ask(name, 'logs', o))
  device
    .command('command')
    .description('have the device do something that control.commands of its agent.yaml permits')
    .argument('<name>', 'name of the device')
    .addArgument(new Argument('<command>', 'what').choices(COMMANDS))
    .addOption(config())
    .action(async (name: string, command: CommandName, o: AskOptions) => ask(name, command, o))
}

function addAdmission(device: Command, io: Io, done: Finish): void {
  device
    .command('list')
    .description('who waits for approval, then all that have joined, with clones')
    .addOption(config())
    .addOption(json())
    .action(async (o: { config: string; json: boolean }) => done((await import('./device.ts')).listDevices(o, io)))
  device
    .command('approve')
    .description('let a device in that waits, is revoked, or was found twice')
    .argument('<name>', 'name of the device')
    .option(
      '--key <id>',
      'its key, as `device list` shows it: where another wants the name of a device that was found twice',
    )
    .addOption(config())
    .action(async (name: string, o: { config: string; key?: string }) =>
      done((await import('./device.ts')).approve(name, o, io)),
    )
  device
    .command('deny')
    .description('not let in who waits; the device that has the name keeps it')
    .argument('<name>', 'name that it wants')
    .addOption(config())
    .action(async (name: string, o: { config: string }) => done((await import('./device.ts')).deny(name, o, io)))
  device
    .command('revoke')
    .description('throw a device out: its certificates are refused, its streams end, its key opens nothing')
    .argument('<name>', 'name of the device')
    .addOption(config())
    .action(async (name: string, o: { config: string }) => done((await import('./device.ts')).revoke(name, o, io)))
}

export function addWatch(program: Command, io: Io, done: Finish): void {
  program
    .command('watch')
    .description('what happens to devices, as it happens: one line each, and one for many that are alike')
    .addOption(config())
    .addOption(labels('of devices with this label; may be repeated'))
    .addOption(new Option('-o, --output <form>', 'form').choices(['text', 'json']).default('text'))
    .option('--last <n>', 'begin with the last so many', count, 10)
    .action(async (o: WatchOptions) => done((await import('./watch.ts')).watchDevices(o, io)))
}
