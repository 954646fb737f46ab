/**
 * What a person gets wrong or a machine does to the agent: an exit code (0 ok, 1 failed, 2 wrong usage), a code, the
 * place, and what to do.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { runCli } from '../../../agent/cli/program.ts'
import { meshlet, says, type Said } from '../cli.ts'
import { machine } from '../machine.ts'

test('agent.yaml that cannot be read: every mistake with its line, and nothing has begun', async (t) => {
  const m = machine(t)
  const cases: [string, RegExp][] = [
    ['listeners: [{name: a\n', /agent\.yaml:6: .*sufficiently indented/],
    ['log: {level: info}\nlog: {level: info}\n', /agent\.yaml:\d: .*unique/],
    [
      'nonsense: 1\nmqtt: {spool: {profile: fast}}\nlisteners:\n- {name: a, kind: mqtt, port: 99999}\n',
      /3 mistakes[^]*agent\.yaml:5: nonsense: is not a setting[^]*agent\.yaml:6: mqtt\.spool\.profile[^]*agent\.yaml:8: listeners\[0\]\.port/,
    ],
    [
      'listeners:\n- {name: m, kind: mqtt, port: 0, tls: {mode: mutual}}\n',
      /agent\.yaml:6: listeners\[0\]\.tls: mode `mutual` shows the mesh identity/,
    ],
    [
      'mqtt: {routes: [{match: "a/#/b", direction: up, cluster: c}]}\n',
      /agent\.yaml:5: mqtt\.routes\[0\]\.match: is not a topic filter/,
    ],
  ]
  for (const [yaml, what] of cases) {
    m.write(yaml)
    for (const command of [['run'], ['config', 'check'], ['join']]) {
      says(await meshlet([...command, '-c', m.file]), {
        exit: 2,
        code: 'MESH_CONFIG_INVALID',
        what,
        remedy: /Correct what the message names: `meshlet config check` lists every mistake of agent\.yaml, .*\.$/m,
      })
    }
  }
  fs.writeFileSync(m.file, '')
  says(await meshlet(['run', '-c', m.file]), {
    exit: 2,
    code: 'MESH_CONFIG_INVALID',
    what: /one of `control` or `directory` is needed/,
    remedy: /Correct/,
  })
  fs.writeFileSync(
    m.file,
    `a: &a [x, x]\n${Array.from({ length: 9 }, (_, i) => `b${i}: &b${i} [*${i ? `b${i - 1}` : 'a'}, *${i ? `b${i - 1}` : 'a'}, *${i ? `b${i - 1}` : 'a'}]`).join('\n')}\n`,
  )
  assert.equal((await meshlet(['run', '-c', m.file])).code, 2, 'aliases that would fill the memory')
  says(await meshlet(['run', '-c', `${m.folder}/other.yaml`]), {
    exit: 2,
    code: 'MESH_CONFIG_INVALID',
    what: /there is no file .*other\.yaml; --config names another/,
    remedy: /Correct/,
  })
  says(await meshlet(['run', '-c', m.folder]), {
    exit: 2,
    code: 'MESH_CONFIG_INVALID',
    what: new RegExp(`${m.folder} cannot be read`),
    remedy: /Correct/,
  })
  assert.equal(fs.existsSync(m.state), false, 'no state folder was made')
})

test('a state directory that cannot be used is named by its path, with what the system says', async (t) => {
  const m = machine(t)
  fs.writeFileSync(`${m.folder}/file`, 'x')
  for (const state of [`${m.folder}/file`, `${m.folder}/file/below`, '/proc/meshlet']) {
    m.write(`state: ${state}\n`)
    says(await meshlet(['run', '-c', m.file]), {
      exit: 1,
      code: 'MESH_STATE_UNUSABLE',
      what: new RegExp(`the state directory ${state} cannot be written to.*\\[E[A-Z]+: `),
      remedy: /to the service's user and nobody else/,
    })
  }
  assert.equal(fs.readFileSync(`${m.folder}/file`, 'utf8'), 'x')

  fs.mkdirSync(`${m.folder}/s/spool.db`, { recursive: true })
  m.write(`state: ${m.folder}/s\n`)
  says(await meshlet(['run', '-c', m.file]), {
    exit: 1,
    code: 'MESH_STATE_UNUSABLE',
    what: /s\/spool\.db: unable to open database file/,
    remedy: /to the service's user and nobody else/,
  })
})

test(
  'a state directory that belongs to somebody else is refused with what to do, and left as it is (needs root)',
  { skip: process.getuid?.() !== 0 && 'needs root, which can be another user for a while' },
  async (t) => {
    const m = machine(t)
    fs.chmodSync(m.folder, 0o755)
    // As root once: the folder and its files are root's, and every module is loaded, which the other user may not be
    // able to do.
    assert.equal((await meshlet(['run', '-c', m.file])).code, 0)
    const before = fs.readdirSync(m.state).sort()
    const asNobody = async (): Promise<Said> => {
      process.setegid!(65_534)
      process.seteuid!(65_534)
      try {
        return await meshlet(['run', '-c', m.file])
      } finally {
        process.seteuid!(0)
        process.setegid!(0)
      }
    }
    const remedy = /to the service's user and nobody else/
    says(await asNobody(), {
      exit: 1,
      code: 'MESH_STATE_UNUSABLE',
      what: new RegExp(
        `the state directory ${m.state} is not safe: it belongs to user 0, and meshlet runs as user 65534`,
      ),
      remedy,
    })
    // The usual accident: the folder is given away, the files in it are not.
    fs.chownSync(m.state, 65_534, 65_534)
    says(await asNobody(), {
      exit: 1,
      code: 'MESH_STATE_UNUSABLE',
      what: new RegExp(
        `the state directory ${m.state} is not safe: spool\\.db in it belongs to user 0, and the folder to user 65534`,
      ),
      remedy,
    })
    assert.deepEqual(fs.readdirSync(m.state).sort(), before)
    for (const file of before) fs.chownSync(`${m.state}/${file}`, 65_534, 65_534)
    assert.deepEqual(await asNobody(), { code: 0, out: '', err: '' })
  },
)

test('a second agent on the same state directory is told of the first, which goes on', async (t) => {
  const m = machine(t)
  let ended = false
  const stop = Promise.withResolvers<string>()
  const started = Promise.withResolvers<void>()
  const first = runCli(['run', '-c', m.file], {
    out: () => {
      /* nobody reads */
    },
    err: () => {
      /* nobody reads */
    },
    env: {},
    standardInput: async () => Buffer.alloc(0),
    stopRequested: () => {
      started.resolve()
      return stop.promise
    },
    settled: () => {
      /* stays */
    },
  })
  void first.then(() => {
    ended = true
  })
  await started.promise
  says(await meshlet(['run', '-c', m.file]), {
    exit: 1,
    code: 'MESH_STATE_IN_USE',
    what: /state\/spool\.db: database is locked/,
    remedy: /Another meshlet works with this state directory: stop it/,
  })
  assert.equal(ended, false)
  stop.resolve('test')
  assert.equal(await first, 0)
})
