/** `--hub`: the same commands at a hub on another machine, over the API of its console. */
import { Option, type Command } from 'commander'
import { MeshError } from '../../core/errors.ts'
import type { Io } from './io.ts'

/** What a hub does with its own files, or with the machine that it stands on. */
const BESIDE_THE_HUB = ['init', 'run', 'roots', 'backup', 'restore', 'store', 'connect', 'revision check', 'version']

const HELP = `
On another machine: meshlet-hub login --hub https://HUB:PORT asks for a link that \`meshlet-hub login --name YOU\` prints on
the hub, which needs a console (docs/console.md). Then --hub, or MESHLET_HUB in the environment, says which hub commands
are about; with -c or --store they are about the one beside them. Of the machine of the hub alone:
${BESIDE_THE_HUB.join(', ')}.`

const buildOption = (): Option => new Option('--hub <url>', 'https://HOST[:PORT] of a hub on another machine')

/** To be called when all commands are there. They find it as `hub` among their options. */
export function addHubOption(program: Command, io: Pick<Io, 'hub'>): void {
  program.addOption(buildOption()).addHelpText('after', HELP)
  addToLeaves(program)
  program.hook('preAction', (_program, action) => {
    const hub = chooseHub(action, io)
    if (hub !== undefined) action.setOptionValue('hub', hub)
  })
}

function addToLeaves(command: Command): void {
  for (const one of command.commands) {
    addToLeaves(one)
    // Of a group, its own subcommands have it.
    const isOne = one.commands.length === 0 || one.options.some(({ long }) => long === '--config')
    if (isOne && !isBesideTheHub(one)) one.addOption(buildOption())
  }
}

/** Throws MESH_CONFIG_INVALID. @returns undefined: the one beside it */
function chooseHub(action: Command, io: Pick<Io, 'hub'>): string | undefined {
  const { hub: said } = action.optsWithGlobals<{ hub?: string }>()
  if (isBesideTheHub(action)) {
    if (said === undefined) return undefined
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      `meshlet-hub ${nameOf(action)} works on the machine of its hub alone: log in there (ssh), and leave --hub out`,
    )
  }
  const isSaid = ['config', 'store'].some((name) => action.getOptionValueSource(name) === 'cli')
  if (said !== undefined && isSaid)
    throw new MeshError('MESH_CONFIG_INVALID', '--hub is about another machine, -c and --store are about this one')
  return said ?? (isSaid || io.hub === '' ? undefined : io.hub)
}

function isBesideTheHub(command: Command): boolean {
  const name = nameOf(command)
  return BESIDE_THE_HUB.some((one) => name === one || name.startsWith(`${one} `))
}
/** Without the program's. */
function nameOf(command: Command): string {
  const { parent } = command
  return parent?.parent ? `${nameOf(parent)} ${command.name()}` : command.name()
}
