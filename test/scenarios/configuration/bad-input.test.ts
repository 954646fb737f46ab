/**
 * What a person gets wrong or a machine does to the agent: an exit code (0 ok, 1 failed, 2 wrong usage), a code, the
 * place, and what to do.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { runCli } from '../../../agent/cli/program.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { testCa } from '../../helpers/test-ca.ts'
import { testHub } from '../../hub/start-hub.ts'
import { meshlet, says, type Said } from '../cli.ts'
import { controlYaml, type Finally } from '../site.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

/** A folder with agent.yaml for directory mode, its resources, and what the test adds. */
type Machine = { folder: string; file: string; state: string; write(yaml: string): void }
function machine(t: Finally, yaml = ''): Machine {
  const folder = temporaryFolder(t)
  const [file, state] = [path.join(folder, 'agent.yaml'), path.join(folder, 'state')]
  fs.mkdirSync(path.join(folder, 'resources'))
  const write = (more: string): void => {
    const own = /^(directory|control|state|admin):/m
    const base = { directory: `${folder}/resources`, state, admin: '{port: 0}', log: '{level: fatal}' }
    const has = new Set(more.split('\n').flatMap((l) => own.exec(l)?.[1] ?? []))
    if (has.has('control')) has.add('directory')
    fs.writeFileSync(
      file,
      Object.entries(base)
        .filter(([k]) => !has.has(k))
        .map(([k, v]) => `${k}: ${v}\n`)
        .join('') + more,
    )
  }
  write(yaml)
  return { folder, file, state, write }
}

/** A port that somebody else has. */

test('wrong words are wrong usage; help and version are not', async () => {
  for (const argv of [['frobnicate'], ['run', '--what'], ['mqtt', 'pub', '-t', 'a'], []]) {
    const said = await meshlet(argv)
    assert.equal(said.code, 2, `meshlet ${argv.join(' ')}`)
    assert.match(said.err, /--help/)
  }
  for (const argv of [['--help'], ['run', '--help'], ['version']]) {
    const said = await meshlet(argv)
    assert.deepEqual([said.code, said.err], [0, ''], `meshlet ${argv.join(' ')}`)
  }
  says(await meshlet(['status', '--admin', 'nowhere']), {
    exit: 2,
    code: 'MESH_CONFIG_INVALID',
    what: /--admin must be ADDRESS:PORT, not "nowhere"/,
    remedy: /Correct what/,
  })
})

test('an agent that does not run is told from one that does', async () => {
  const [port] = (await freePorts(1)) as [number]
  for (const argv of [['status'], ['config', 'dump'], ['drain']]) {
    says(await meshlet([...argv, '--admin', `127.0.0.1:${port}`]), {
      exit: 1,
      code: 'MESH_AGENT_UNREACHABLE',
      what: new RegExp(`127\\.0\\.0\\.1:${port}`),
      remedy: /Start it with meshlet run/,
    })
  }
})

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
        remedy: /Correct what the message names; meshlet config check lists every mistake\.$/m,
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

test('files of listeners and of the identity that are not there, or are something else, end no start; config check names them with their setting', async (t) => {
  const m = machine(t)
  const ca = testCa()
  const [one, two] = [ca.issue('a', 'a'), ca.issue('b', 'b')]
  for (const [name, text] of [
    ['text', 'no pem'],
    ['chain.pem', one.chainPem],
    ['key.pem', one.keyPem],
    ['other.pem', two.keyPem],
  ])
    fs.writeFileSync(path.join(m.folder, name!), text!)
  const tls = (chain: string, key: string, more = ''): string =>
    `listeners: [{name: m, kind: mqtt, port: 0, tls: {mode: server, chain: ${m.folder}/${chain}, key: ${m.folder}/${key}${more}}}]\n`
  const cases: [string, RegExp][] = [
    [tls('nothing', 'key.pem'), /listeners\.m\.tls: there is no file .*nothing/],
    [tls('text', 'key.pem'), /listeners\.m\.tls: .*text holds no certificate/],
    [tls('chain.pem', 'text'), /listeners\.m\.tls: .*text holds no private key that can be used/],
    [
      tls('chain.pem', 'other.pem'),
      /listeners\.m\.tls: the certificate of .*chain\.pem was not made for the key of .*other\.pem/,
    ],
    [tls('chain.pem', 'key.pem', `, clientRoots: ${m.folder}/text`), /listeners\.m\.tls: .*text holds no certificate/],
    [tls('chain.pem', 'resources'), /listeners\.m\.tls: .*resources cannot be read/],
    [`identity: {folder: ${m.folder}}\n`, /identity\.folder: there is no file .*cert-chain\.pem/],
  ]
  for (const [yaml, what] of cases) {
    m.write(yaml)
    assert.deepEqual(await meshlet(['run', '-c', m.file]), { code: 0, out: '', err: '' }, String(what))
    const { code, out } = await meshlet(['config', 'check', '-c', m.file])
    assert.equal(code, 2, String(what))
    assert.match(out, what)
  }
  m.write(tls('chain.pem', 'key.pem'))
  assert.deepEqual(await meshlet(['run', '-c', m.file]), { code: 0, out: '', err: '' })
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

/** No token, none in a file or in standard input, and what cannot be one. */
async function joinsWithoutToken(m: Machine, token: string): Promise<void> {
  says(await meshlet(['join', '-c', m.file]), {
    exit: 1,
    code: 'MESH_NO_IDENTITY',
    what: /neither a certificate nor a join token/,
    remedy: /meshlet join gets one with a join token \(control\.token, or --token\)/,
  })
  says(await meshlet(['join', '-c', m.file, '--token', '/nowhere/token']), {
    exit: 1,
    code: 'MESH_TOKEN_INVALID',
    what: /--token: there is no token in \/nowhere\/token/,
    remedy: /meshlet-hub token create/,
  })
  says(await meshlet(['join', '-c', m.file, '--token', '-'], '\n'), {
    exit: 1,
    code: 'MESH_TOKEN_INVALID',
    what: /there is no token in standard input/,
    remedy: /token create/,
  })
  says(await meshlet(['join', '-c', m.file, '--token', '-'], 'two words'), {
    exit: 1,
    code: 'MESH_TOKEN_INVALID',
    what: /standard input holds something that is no token/,
    remedy: /token create/,
  })
  fs.writeFileSync(token, 'a token\nwith lines')
  says(await meshlet(['join', '-c', m.file]), {
    exit: 1,
    code: 'MESH_TOKEN_INVALID',
    what: /edge\.token holds something that is no token/,
    remedy: /token create/,
  })
}

test('a wrong token: join says who refused it and where the next one comes from; the token itself is never shown', async (t) => {
  const [hub, other] = [await testHub(t), await testHub(t)]
  const m = machine(t)
  fs.writeFileSync(`${m.folder}/roots.pem`, hub.hub.rootsPem)
  m.write(
    `node: {name: edge, namespace: edge, serviceAccount: gateway}\n${controlYaml(m.folder, 'edge', hub.hub.port)}`,
  )
  const token = `${m.folder}/edge.token`
  const foreign = other.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: '*' }).token
  const ended = hub.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: '*', ttlSec: -1 }).token
  const identity = `${m.state}/identity/identity.json`

  await joinsWithoutToken(m, token)
  for (const [wrong, why] of [
    ['s3cret-nonsense', /is not one of this hub/],
    [foreign, /is not signed by this hub/],
    [ended, /ended at 20/],
  ] as const) {
    fs.writeFileSync(token, wrong)
    const said = await meshlet(['join', '-c', m.file])
    says(said, {
      exit: 1,
      code: 'MESH_CONTROL_UNAUTHENTICATED',
      what: why,
      remedy: /Put a new token into the file of control\.token/,
    })
    assert.match(said.err, new RegExp(`127\\.0\\.0\\.1:${hub.hub.port}`))
    assert.equal(said.err.includes(wrong), false)
  }
  assert.equal(fs.existsSync(identity), false)

  fs.writeFileSync(token, hub.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: '*' }).token)
  const joined = await meshlet(['join', '-c', m.file])
  assert.deepEqual([joined.code, joined.err], [0, ''])
  assert.match(joined.out, /^joined as spiffe:\/\/demo\.mesh\/ns\/edge\/sa\/gateway, certificate valid until 20/)
  const before = fs.readFileSync(identity)
  assert.equal((await meshlet(['join', '-c', m.file, '--token', '-'], foreign)).code, 1)
  assert.deepEqual(fs.readFileSync(identity), before, 'a join that fails leaves the identity as it is')
})

test('a control plane that is not there, or is somebody else, is told apart', async (t) => {
  const hub = await testHub(t)
  const m = machine(t)
  fs.writeFileSync(
    `${m.folder}/edge.token`,
    hub.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: '*' }).token,
  )
  const [nobody] = (await freePorts(1)) as [number]
  m.write(controlYaml(m.folder, 'edge', nobody))
  says(await meshlet(['join', '-c', m.file]), {
    exit: 2,
    code: 'MESH_CONFIG_INVALID',
    what: /control\.roots: there is no file .*roots\.pem/,
    remedy: /Correct/,
  })
  fs.writeFileSync(`${m.folder}/roots.pem`, testCa('demo.mesh').rootsPem)
  says(await meshlet(['join', '-c', m.file]), {
    exit: 1,
    code: 'MESH_CONTROL_UNREACHABLE',
    what: new RegExp(`127\\.0\\.0\\.1:${nobody} is not reachable for the certificate: connect ECONNREFUSED`),
    remedy: /Check the address, the route and the firewall/,
  })
  m.write(controlYaml(m.folder, 'edge', hub.hub.port))
  says(await meshlet(['join', '-c', m.file]), {
    exit: 1,
    code: 'MESH_CONTROL_TLS',
    what: /certificate/,
    remedy: /Put the root certificate of the control plane's CA into the file of control\.roots/,
  })
  fs.writeFileSync(`${m.folder}/roots.pem`, hub.hub.rootsPem)
  m.write(controlYaml(m.folder, 'edge', hub.hub.port).replace('hub.demo.mesh', 'other.demo.mesh'))
  says(await meshlet(['join', '-c', m.file]), {
    exit: 1,
    code: 'MESH_CONTROL_NAME',
    what: /other\.demo\.mesh/,
    remedy: /Set control\.serverName/,
  })
  fs.writeFileSync(`${m.folder}/roots.pem`, 'no pem')
  says(await meshlet(['join', '-c', m.file]), {
    exit: 2,
    code: 'MESH_CONFIG_INVALID',
    what: /control\.roots: .*roots\.pem holds no certificate/,
    remedy: /Correct/,
  })
})

test('config check finds the cluster that a route names and nobody knows, without starting anything', async (t) => {
  const m = machine(t)
  fs.writeFileSync(
    `${m.folder}/resources/routes.yaml`,
    `resources:
- "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
  name: web
  virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: gone}}]}]
`,
  )
  const said = await meshlet(['config', 'check', '-c', m.file])
  assert.equal(said.code, 2)
  assert.match(said.out, /1 mistake\nMistakes:\n.*route.*web.*gone/i)
  assert.equal(fs.existsSync(m.state), false)
})

test('a capture mode that cannot be served is no mistake, as istiod may want to know it, but config check says so', async (t) => {
  const m = machine(t)
  fs.appendFileSync(m.file, '\ncapture: redirect\n')
  const said = await meshlet(['config', 'check', '-c', m.file])
  assert.deepEqual([said.code, said.err], [0, ''])
  assert.match(
    said.out,
    /no mistake found[^]*Not acted upon by meshlet:\n {2}capture: redirect is told to the control plane, but /,
  )
})
