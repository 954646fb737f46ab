/** `meshlet-hub device status|logs|command NAME` */
import fs from 'node:fs'
import path from 'node:path'
import type { ExitCode } from '../../../core/cli/exit.ts'
import { escapeForTerminal } from '../../../core/printable.ts'
import type { CommandName } from '../../../model/fleet/command.ts'
import type { Io } from '../io.ts'
import { withOperations, type HubOptions } from '../operations/open.ts'

export type AskOptions = HubOptions & { readonly lines?: number }

const DEFAULT_LINES = 100

/** Rejects with what `askDevice` rejects with. */
export async function ask(name: string, command: CommandName, o: AskOptions, io: Io): Promise<ExitCode> {
  const answer = await withOperations(o, io, ({ devices }) => devices.ask(name, command, o.lines ?? DEFAULT_LINES))
  if (answer.form === 'text') {
    // A device may say anything.
    io.out(escapeForTerminal(answer.text))
    return 0
  }
  // The name is the device's, the folder is not.
  const file = path.basename(answer.name).replaceAll(/[^\w.-]/g, '_')
  fs.writeFileSync(`${name}-${file}`, Buffer.from(answer.content, 'base64'), { flag: 'wx', mode: 0o600 })
  io.out(`${name}-${file}\n`)
  return 0
}
