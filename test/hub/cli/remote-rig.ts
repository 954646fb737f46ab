/** A hub with its console, and `meshlet-hub` beside it and on another machine, in this process. */
import fs from 'node:fs'
import path from 'node:path'
import { runCli } from '../../../hub/cli/program.ts'
import type { Io } from '../../../hub/cli/io.ts'
import type { Grant } from '../../../hub/registry/console-sessions.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { ADMIN, CONSOLE, consoleRig, type ConsoleRig } from '../console/console-rig.ts'
import { startProvider, type LocalProvider } from '../console/oidc/local-provider.ts'
import type { Ran } from './hub-cli.ts'

type Finally = { after(fn: () => void | Promise<void>): void }
export type Machine = {
  /** Of its user. */
  readonly savedLogins: string
  run(argv: readonly string[], io?: Partial<Io>): Promise<Ran>
}

/** A machine of an operator, who is logged in nowhere yet. */
export function makeMachine(t: Finally): Machine {
  const savedLogins = path.join(temporaryFolder(t), 'meshlet-hub', 'logins.json')
  return {
    savedLogins,
    async run(argv, more = {}) {
      const [out, err]: [string[], string[]] = [[], []]
      const io: Io = {
        savedLogins,
        out: (text) => {
          out.push(text)
        },
        err: (text) => {
          err.push(text)
        },
        stopRequested: async () => 'test',
        ...more,
      }
      return { code: await runCli(argv, io), out: out.join(''), err: err.join('') }
    },
  }
}

export const typing = (text: string): Partial<Io> => ({ standardInput: async () => Buffer.from(`${text}\n`) })

export type RemoteRig = ConsoleRig & {
  readonly url: string
  readonly machine: Machine
  /** On the machine of the hub. */
  local(...argv: string[]): Promise<Ran>
  /** On another. */
  remote(...argv: string[]): Promise<Ran>
  enter(grants?: readonly Grant[], operator?: string): Promise<Ran>
}

export async function remoteRig(t: Finally, settings = CONSOLE): Promise<RemoteRig> {
  const rig = await consoleRig(t, settings)
  const machine = makeMachine(t)
  const config = path.join(rig.folder, 'hub.yaml')
  fs.writeFileSync(
    config,
    `listen: 127.0.0.1:0\nresources: ${rig.folder}/resources\nstate: ${rig.folder}/state\ntrustDomain: demo.mesh\ndnsNames: [hub.demo.mesh]\nadmin: {port: 0}\n${settings}\n`,
  )
  const url = `http://127.0.0.1:${rig.hub.consolePort}`
  return {
    ...rig,
    url,
    machine,
    local: (...argv) => machine.run([...argv, '-c', config]),
    remote: (...argv) => machine.run([...argv, '--hub', url]),
    async enter(grants = ADMIN, operator = 'operator:ann') {
      return machine.run(['login', '--hub', url], typing(await rig.link(grants, operator)))
    },
  }
}

/** With a console that people log in to at an issuer: who has `ops` there is an operator. */
export async function issuerRig(t: Finally): Promise<{ rig: RemoteRig; provider: LocalProvider }> {
  const provider = await startProvider(t)
  const roots = path.join(temporaryFolder(t), 'roots.pem')
  fs.writeFileSync(roots, provider.rootsPem)
  const oidc = `{issuer: "${provider.issuer}", clientId: hub, roots: ${roots}, roles: [{value: ops, role: operator}]}`
  return { rig: await remoteRig(t, `console: {listen: "127.0.0.1:0", oidc: ${oidc}}`), provider }
}
