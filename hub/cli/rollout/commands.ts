/** The subcommands `revision …` and `rollout …`, with the help that should suffice. */
import type { Command } from 'commander'
import type { Finish } from '../../../core/cli/run.ts'
import { buildConfigOption as addConfig, buildJsonOption as addJson, parseLabel, parseSeconds } from '../options.ts'
import type { Io } from '../io.ts'
import type { StartOptions } from './rollout.ts'

type Options = { config: string; json: boolean }

export function addRevision(program: Command, io: Io, done: Finish): void {
  const revision = program
    .command('revision')
    .description('what the resources folder was at different times: each is taken whole, or not at all')
  const add = (name: string, text: string): Command =>
    revision.command(name).description(text).addOption(addConfig()).addOption(addJson())
  const load = () => import('./revision.ts')
  add(
    'list',
    'the last 50, newest first, with what each is used for; and why the folder is none, if it is none',
  ).action(async (o: Options) => done((await load()).listRevisions(o, io)))
  add('show', 'its files')
    .argument('<revision>', 'id, or how it begins')
    .action(async (id: string, o: Options) => done((await load()).showRevision(id, o, io)))
  add('diff', 'what differs between two')
    .argument('<before>')
    .argument('<after>')
    .action(async (a: string, b: string, o: Options) => done((await load()).printDifferences(a, b, o, io)))
  add('check', 'whether a folder could be taken; nothing is changed')
    .argument('[folder]', 'default: that of hub.yaml')
    .action(async (folder: string | undefined, o: Options) => done((await load()).checkRevision(folder, o, io)))
  add('who', 'which device has which revision, and which it is to have')
    .argument('[revision]', 'only those that have it or are to have it')
    .action(async (id: string | undefined, o: Options) => done((await load()).printWho(id, o, io)))
}

export function addRollout(program: Command, io: Io, done: Finish): void {
  const rollout = program.command('rollout').description('bring a revision to devices in waves that stop by themselves')
  addStart(rollout, io, done)
  const load = () => import('./rollout.ts')
  const changes = [
    ['pause', 'no further wave begins; the gates go on'],
    ['resume', 'go on after a pause'],
    ['abort', 'end it: its devices go back to what was good last'],
    ['undo', 'after its end: devices go back, at once, to what was in force before the newest rollout'],
  ] as const
  for (const [what, text] of changes)
    rollout
      .command(what)
      .description(text)
      .addOption(addConfig())
      .option('--why <reason>', 'for the audit log')
      .action(async (o: { config: string; why?: string }) => done((await load()).change(what, o, io)))
  rollout
    .command('status')
    .description('the one that is under way, or the last one, and what is in force')
    .addOption(addConfig())
    .addOption(addJson())
    .action(async (o: Options) => done((await load()).printStatus(o, io)))
  rollout
    .command('list')
    .description('the last 100, newest first')
    .addOption(addConfig())
    .addOption(addJson())
    .action(async (o: Options) => done((await load()).printRollouts(o, io)))
}

function addStart(rollout: Command, io: Io, done: Finish): void {
  rollout
    .command('start')
    .description('what is not said is as `rollout` of hub.yaml says')
    .addOption(addConfig())
    .requiredOption('--to <revision>', 'id, or how it begins; meshlet-hub revision list shows them')
    .option(
      '-l, --label <key=value>',
      'for devices with this label; may be repeated, then all must be there',
      parseLabel,
      {},
    )
    .option('--device <name>', 'for one device')
    .option('--waves <shares>', 'share of the devices that have it after each wave, e.g. 1%,10%,50%,100%')
    .option('--soak <duration>', 'how long each wave is watched, e.g. 10m', parseSeconds(0))
    .option('--away <duration>', 'who was there and is away for longer is lost', parseSeconds(1))
    .option('--halt <gates>', "when it stops by itself, e.g. 'rejected>0, lost>2%, errors>2x', or never")
    .option('--now', 'to all at once, without waves and gates', false)
    .option('--why <reason>', 'for the audit log')
    .action(async (o: StartOptions) => done((await import('./rollout.ts')).start(o, io)))
}
