/** `meshlet-hub …` in this process, on a configuration and a state of its own. */
import fs from 'node:fs'
import path from 'node:path'
import { runCli } from '../../../hub/cli/program.ts'
import type { Io } from '../../../hub/cli/io.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

export type Ran = { readonly code: number; readonly out: string; readonly err: string }
export function hubCli(t: { after(fn: () => void): void }) {
  const folder = temporaryFolder(t)
  fs.mkdirSync(path.join(folder, 'resources'))
  const config = path.join(folder, 'hub.yaml')
  fs.writeFileSync(
    config,
    `listen: 127.0.0.1:0\nresources: ${folder}/resources\nstate: ${folder}/state\nadmin: {port: 0}\n`,
  )
  const cli = async (...argv: string[]): Promise<Ran> => {
    const [out, err]: [string[], string[]] = [[], []]
    const io: Io = {
      out: (text) => {
        out.push(text)
      },
      err: (text) => {
        err.push(text)
      },
      stopRequested: async () => 'test',
    }
    const code = await runCli(argv, io)
    return { code, out: out.join(''), err: err.join('') }
  }
  return { folder, config, cli }
}

export type HubCli = ReturnType<typeof hubCli>
export const createToken = ({ cli, config }: HubCli, name: string): Promise<Ran> =>
  cli('token', 'create', '-c', config, '-n', 'edge', '-s', 'gateway', '--name', name)
/** A device with a key of its own, as it joins. */
export const makeApplicant = (name: string) => ({
  name,
  keyId: `k-${name}`,
  namespace: 'edge',
  serviceAccount: 'gateway',
  jti: null,
  labels: {},
  address: '',
})
