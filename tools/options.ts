/** The options of a command of the repository. Wrong ones end it with 2 and one line of help, before it does anything. */
import { parseArgs, type ParseArgsConfig } from 'node:util'

/** @param usage how the command is called, printed behind what is wrong */
export function readOptions<T extends ParseArgsConfig>(config: T, usage: string): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config)
  } catch (err) {
    console.error(`${(err as Error).message}\n${usage}`)
    process.exit(2)
  }
}
