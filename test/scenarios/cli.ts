/** The command line in this process: what it says and with which code it ends. */
import assert from 'node:assert/strict'
import { runCli } from '../../agent/cli/program.ts'
import type { Problem } from '../../agent/admin/status.ts'
import type { TestAgent } from './site.ts'

export type Said = { readonly code: number; readonly out: string; readonly err: string }

/** Of a command that nobody asks to stop. */
export const goesOn = (): Promise<string> => Promise.withResolvers<string>().promise

/** `meshlet ...argv`; a `run` that starts is asked to stop at once. */
export async function meshlet(
  argv: readonly string[],
  standardInput = '',
  o: { readonly stopRequested?: () => Promise<string>; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<Said> {
  let [out, err] = ['', '']
  const code = await runCli(argv, {
    out: (text) => {
      out += text
    },
    outBytes: (bytes) => {
      out += Buffer.from(bytes).toString('utf8')
    },
    err: (text) => {
      err += text
    },
    env: o.env ?? {},
    standardInput: async () => Buffer.from(standardInput),
    stopRequested: o.stopRequested ?? (async () => 'test'),
    settled: () => {
      /* memory is no matter here */
    },
  })
  return { code, out, err }
}

/** One sentence: code, the place, what is wrong, what to do. */
export function says(
  said: Said,
  p: { readonly exit: 1 | 2; readonly code: string; readonly what: RegExp; readonly remedy: RegExp },
): void {
  assert.equal(said.code, p.exit, said.err)
  assert.ok(said.err.startsWith(`meshlet: ${p.code}: `), said.err)
  assert.match(said.err, p.what)
  assert.match(said.err, p.remedy)
  assert.equal(said.out, '')
  assert.doesNotMatch(said.err, /MESH_INTERNAL|undefined|\[object|\n\s+at /)
}

const status = (agent: TestAgent): Promise<Said> => meshlet(['status', '--admin', `127.0.0.1:${agent.agent.adminPort}`])

/** `meshlet status` ends with 1 and shows the problem with what to do about it. */
export async function problem(agent: TestAgent, code: string): Promise<Problem> {
  const found =
    agent.status().problems.find((p) => p.code === code) ??
    assert.fail(`${code} is not among ${agent.problems().join(', ')}`)
  const { out, ...said } = await status(agent)
  assert.deepEqual(said, { code: 1, err: '' })
  assert.ok(out.includes(`\n! ${code}: `) && out.includes(`\n  ${found.remedy}\n`), out)
  assert.doesNotMatch(out, /MESH_INTERNAL|undefined|\[object|\n\s+at /)
  return found
}
/** `meshlet status` ends with 0. */
export async function nothingIsWrong(agent: TestAgent): Promise<void> {
  const said = await status(agent)
  assert.match(said.out, /\nNothing is wrong\.\n$/)
  assert.deepEqual([said.code, said.err], [0, ''])
}
