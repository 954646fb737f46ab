import { test } from 'node:test'
import assert from 'node:assert/strict'
import { runCommandLine } from '../../../core/cli/run.ts'
import { MeshError } from '../../../core/errors.ts'

for (const { name, argv, fails, code, out = '', err = '' } of [
  { name: 'an action decides on the code', argv: ['do'], code: 7 },
  { name: 'help is no failure', argv: ['--help'], code: 0, out: 'First steps: x do.' },
  { name: 'no command', argv: [], code: 2, err: 'Exit codes: 0 ok, 1 failed, 2 wrong usage.' },
  { name: 'an unknown command', argv: ['undo'], code: 2, err: 'x --help, or x COMMAND --help' },
  { name: 'an unknown option', argv: ['do', '--it'], code: 2, err: "unknown option '--it'" },
  {
    name: 'a file of the caller is wrong',
    argv: ['do'],
    fails: new MeshError('MESH_CONFIG_INVALID', 'a.yaml'),
    code: 2,
    err: 'x: ',
  },
  { name: 'a defect', argv: ['do'], fails: new Error('boom'), code: 1, err: 'boom' },
])
  test(`command line: ${name}`, async () => {
    const written = { out: '', err: '' }
    const line = {
      name: 'x',
      description: 'Does it.',
      firstSteps: 'x do',
      add: (program, finish) => {
        program.command('do').action(() => finish(fails === undefined ? Promise.resolve(7) : Promise.reject(fails)))
      },
    } satisfies Parameters<typeof runCommandLine>[0]
    const got = await runCommandLine(line, argv, {
      out: (text) => (written.out += text),
      err: (text) => (written.err += text),
    })
    assert.equal(got, code)
    assert.ok(written.out.includes(out) && written.err.includes(err), JSON.stringify(written))
  })
