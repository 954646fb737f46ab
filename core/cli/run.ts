/** The command line of a program: subcommands with their help, and an exit code in every case. */
import { Command, CommanderError } from 'commander'
import { explain } from './exit.ts'

/** What an action resolves with becomes the exit code of the program. */
export type Finish = (result: Promise<number>) => Promise<void>

export type CommandLine = {
  /** As it is typed. */
  readonly name: string
  readonly description: string
  /** Commands that a newcomer needs, in their order. */
  readonly firstSteps: string
  /** Adds the subcommands. */
  readonly add: (program: Command, finish: Finish) => void
}
export type CliOutput = { readonly out: (text: string) => void; readonly err: (text: string) => void }

/** @returns what the command's action resolved with; 1 failed, 2 wrong usage. Never rejects. */
export async function runCommandLine(line: CommandLine, argv: readonly string[], io: CliOutput): Promise<number> {
  let code = 0
  const program = new Command(line.name)
    .description(line.description)
    .exitOverride()
    .enablePositionalOptions()
    .showHelpAfterError(`(${line.name} --help, or ${line.name} COMMAND --help)`)
    .configureOutput({ writeOut: io.out, writeErr: io.err })
    .addHelpText('after', `\nExit codes: 0 ok, 1 failed, 2 wrong usage.\nFirst steps: ${line.firstSteps}.`)
  line.add(program, async (result) => {
    code = await result
  })
  try {
    await program.parseAsync([...argv], { from: 'user' })
    return code
  } catch (err) {
    if (err instanceof CommanderError) return err.exitCode === 0 ? 0 : 2
    const failed = explain(line.name, err)
    io.err(`${failed.text}\n`)
    return failed.code
  }
}
