/** A machine that joins a hub, and the agent on it. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import type { TestHub } from '../../hub/start-hub.ts'
import { meshlet, type Said } from '../cli.ts'
import { TestAgent, type Finally } from '../site.ts'

/** Of hub.yaml. */
export const API = 'dnsNames: [127.0.0.1, hub.demo.mesh]\napi: {listen: "127.0.0.1:0"}\n'

export type Device = {
  readonly file: string
  readonly state: string
  /** `meshlet join`, with the token on standard input. */
  join(token: string, ...more: string[]): Promise<Said>
}

/** @param p of `meshlet join`: the hub's name, and the environment */
export function device(
  t: Finally,
  { hub }: { readonly hub: Pick<TestHub['hub'], 'apiPort'> },
  { host = '127.0.0.1', env = {} }: { readonly host?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Device {
  const folder = temporaryFolder(t)
  const [file, state] = [path.join(folder, 'agent.yaml'), path.join(folder, 'state')]
  fs.writeFileSync(file, `# mine\nstate: ${state}\nadmin: {port: 0}\nlog: {level: fatal}\n`)
  return {
    file,
    state,
    join: (token, ...more) =>
      meshlet(['join', `https://${host}:${hub.apiPort}`, '--token', '-', '-c', file, ...more], token, { env }),
  }
}

/** With a token of its own, under that name. */
export async function joinAs(name: string, d: Device, { hub }: Pick<TestHub, 'hub'>): Promise<void> {
  const of = { namespace: 'edge', serviceAccount: 'gateway' }
  const { token } = await hub.createToken({ ...of, nodes: name, maxUses: 1 })
  const said = await d.join(token)
  assert.equal(said.code, 0, said.err)
}

/** The agent on what `join` has left. */
/** The shortest waits between tries that chance may give. */
const SHORT_WAITS: TestAgent['over'] = { random: { float: () => Math.random() / 50 } }

export async function startDevice(
  t: Finally,
  { file, state }: Device,
  over: TestAgent['over'] = SHORT_WAITS,
  proxy?: TestAgent['proxy'],
): Promise<TestAgent> {
  const yaml = fs
    .readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => !/^(state|admin):/.test(line))
    .join('\n')
  const agent = new TestAgent(t, yaml)
  // What stands in its state folder is named there.
  agent.yaml = yaml.replaceAll(state, `${agent.folder}/state`)
  agent.over = over
  agent.proxy = proxy
  // Its own state folder, under the name that a test agent gives it.
  fs.symlinkSync(state, path.join(agent.folder, 'state'))
  await agent.start()
  return agent
}
