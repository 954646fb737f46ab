import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { testCa } from '../../helpers/test-ca.ts'
import { meshlet } from '../../scenarios/cli.ts'
import { machine } from '../../scenarios/machine.ts'
import { controlYaml } from '../../scenarios/site.ts'

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

test('config check names the line of an acl file that cannot be used, and the run goes on without anybody', async (t) => {
  const m = machine(t)
  const yaml = `mqtt: {aclFile: ${m.folder}/acl}\nlisteners: [{name: m, kind: mqtt, port: 0}, {name: n, kind: mqtt, port: 0}]\n`
  for (const [text, what] of [
    [undefined, /1 mistake\nMistakes:\n.*mqtt\.aclFile: .*acl: there is no such file\n/],
    ['user a\ntopic red a\n', /1 mistake\nMistakes:\n.*mqtt\.aclFile: .*acl: line 2: "red" is none of/],
  ] as const) {
    if (text !== undefined) fs.writeFileSync(`${m.folder}/acl`, text)
    m.write(yaml)
    assert.equal((await meshlet(['run', '-c', m.file])).code, 0)
    const { code, out } = await meshlet(['config', 'check', '-c', m.file])
    assert.deepEqual([code, what.test(out)], [2, true], out)
  }
  fs.writeFileSync(`${m.folder}/acl`, 'topic read a\n')
  assert.equal((await meshlet(['config', 'check', '-c', m.file])).code, 0)
  fs.chmodSync(`${m.folder}/acl`, 0o666)
  const { code, out } = await meshlet(['config', 'check', '-c', m.file])
  assert.deepEqual([code, /others than its owner may write it.*chmod go-w/.test(out)], [2, true], out)
})

test('config check reads the files of users: what cannot be used is a mistake, a line that is not is to be seen to', async (t) => {
  const m = machine(t)
  m.write(
    `mqtt: {users: {passwordFile: ${m.folder}/users, pskFile: ${m.folder}/keys}}\nlisteners: [{name: m, kind: mqtt, port: 0}]\n`,
  )
  const salt = `${Buffer.alloc(12, 1).toString('base64')}$${Buffer.alloc(64, 2).toString('base64')}`
  fs.writeFileSync(`${m.folder}/users`, `ana:$6$${salt}\nbob:plain\n`, { mode: 0o600 })
  fs.writeFileSync(`${m.folder}/keys`, 'a:00\n', { mode: 0o600 })
  const { code, out } = await meshlet(['config', 'check', '-c', m.file])
  assert.equal(code, 2)
  assert.match(out, /1 mistake\nMistakes:\n.*mqtt\.users\.pskFile: .*keys: it has no key/)
  assert.match(out, /To be seen to:\n.*mqtt\.users\.passwordFile: .*users: line 2 is a password that is not hashed/)
  assert.doesNotMatch(out, /plain/)
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

test('a join token that is not there yet is to be seen to, and no mistake; roots have to be there', async (t) => {
  const m = machine(t)
  fs.writeFileSync(`${m.folder}/roots.pem`, testCa().rootsPem)
  m.write(controlYaml(m.folder, 'edge', 1))
  const said = await meshlet(['config', 'check', '-c', m.file])
  assert.deepEqual([said.code, said.err], [0, ''])
  assert.match(said.out, /no mistake found[^]*\nTo be seen to:\n {2}control\.token: there is no file .*edge\.token; /)
  fs.writeFileSync(`${m.folder}/edge.token`, 'x')
  assert.doesNotMatch((await meshlet(['config', 'check', '-c', m.file])).out, /To be seen to/)
  fs.rmSync(`${m.folder}/roots.pem`)
  const without = await meshlet(['config', 'check', '-c', m.file])
  assert.equal(without.code, 2)
  assert.match(without.out, /: 1 mistake\nMistakes:\n {2}control\.roots: there is no file .*roots\.pem\n/)
})

test('each file that the identity names has to be there, and all that are not are listed', async (t) => {
  const m = machine(t)
  m.write(`identity: {encryptionKey: /nowhere/key, extraRoots: ${m.folder}/resources, crl: /nowhere/crl}\n`)
  const { code, out } = await meshlet(['config', 'check', '-c', m.file])
  assert.equal(code, 2)
  assert.match(out, /: 3 mistakes\n/)
  assert.match(out, /identity\.encryptionKey: there is no file \/nowhere\/key\n/)
  assert.match(out, /identity\.extraRoots: .*resources cannot be read\n/)
  assert.match(out, /identity\.crl: there is no file \/nowhere\/crl\n/)
})

test('a folder of resources that is not there is a mistake', async (t) => {
  const m = machine(t)
  fs.rmdirSync(`${m.folder}/resources`)
  const { code, out } = await meshlet(['config', 'check', '-c', m.file])
  assert.equal(code, 2)
  assert.match(out, /1 mistake\nMistakes:\n.*resources/)
})

test('--json gives the same as lists, with what there is of each kind', async (t) => {
  const m = machine(t, 'listeners: [{name: p, kind: http_proxy, port: 0}]\ncapture: redirect\n')
  fs.writeFileSync(
    `${m.folder}/resources/a.yaml`,
    'resources:\n- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster\n  name: c\n  type: STATIC\n  preconnect_policy: {per_upstream_preconnect_ratio: 1.5}\n',
  )
  const { code, out, err } = await meshlet(['config', 'check', '-c', m.file, '--json'])
  assert.deepEqual([code, err], [0, ''])
  const { mistakes, notes, ignored, counts } = JSON.parse(out) as Record<string, unknown>
  assert.deepEqual([mistakes, notes], [[], []])
  assert.match(String((ignored as string[])[0]), /^capture: redirect is told to the control plane/)
  assert.match((ignored as string[]).join('\n'), /preconnect_policy/)
  const { listeners, mqttRoutes, ...resources } = counts as Record<string, number>
  assert.deepEqual([listeners, mqttRoutes], [1, 0])
  assert.ok(Object.values(resources).includes(1), out)
})
