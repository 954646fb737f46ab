/** Each command on the machine of a hub and on another one, over real sockets: the same output, the same exit code. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import type { Report } from '../../../model/fleet/report.ts'
import { REPORT } from '../../helpers/control-plane/report.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { remoteRig, typing, type RemoteRig } from '../../hub/cli/remote-rig.ts'

const URI = 'spiffe://demo.mesh/ns/edge/sa/gw'
const HOUR_MS = 3_600_000
const POINT = { connected: true, connects: 1, rttMs: 4, bytes: 9, spool: 3, requests: 2, failures: 1, drops: 0 }
const CLUSTER = (name: string, timeout: string): string =>
  `'@type': type.googleapis.com/envoy.config.cluster.v3.Cluster\nname: ${name}\nconnect_timeout: ${timeout}\nload_assignment: {cluster_name: ${name}}\n`

async function addDevice(
  { hub: { registry } }: RemoteRig,
  name: string,
  p: { readonly site?: string; readonly report?: Partial<Report> } = {},
) {
  const nowMs = Date.now()
  const labels = p.site === undefined ? {} : { site: p.site }
  const of = { namespace: 'edge', serviceAccount: 'gw', jti: 'j1', labels, address: '10.0.0.7' }
  await registry.enrollments.enroll({ ...of, name, keyId: `k-${name}` }, nowMs - HOUR_MS)
  const holder = `key:k-${name}`
  await registry.claimName({ name, nodeId: name, spiffeUri: URI, ip: '10.0.0.7', holder, jti: 'j1', nowMs })
  if (!p.report) return
  await registry.reports.write(
    [{ name, atMs: nowMs - 3 * HOUR_MS, restarts: 1, expected: REPORT.content, report: { ...REPORT, ...p.report } }],
    [{ ...POINT, problems: 1, name, atMs: nowMs - 3 * HOUR_MS }],
  )
  await registry.deviceEvents.add([
    { atMs: nowMs, device: name, event: 'problem', reason: 'a word of its own \u001b[2J' },
  ])
}

/** What a hub has after a while. */
async function fill(rig: RemoteRig): Promise<readonly [string, string]> {
  const { registry } = rig.hub
  await registry.addToken({
    jti: 'j1',
    namespace: 'edge',
    serviceAccount: 'gw',
    createdMs: 1,
    expiresMs: 1e15,
    maxUses: 900,
    nodes: 'gw-*',
  })
  const problems = [{ code: 'MESH_CLOCK_WRONG', text: 'its clock \u009b31m is late' }]
  await addDevice(rig, 'gw-1', { site: 'north', report: { problems } })
  await addDevice(rig, 'gw-2', { site: 'south', report: { refused: [{ kind: 'Cluster', name: 'x', reason: 'no' }] } })
  for (let i = 3; i < 10; i++) await addDevice(rig, `gw-${i}`)
  const of = { namespace: 'edge', serviceAccount: 'gw', jti: 'j1', labels: {}, address: '10.0.0.9' }
  for (const name of ['new-1', 'new-2', 'new-3', 'new-4'])
    await registry.enrollments.ask({ ...of, name, keyId: `k-${name}`, why: 'the token wants it', askedMs: 1 })
  const ids: string[] = []
  for (const timeout of ['1s', '2s']) {
    rig.write('a.yaml', CLUSTER('a', timeout))
    await rig.taken()
    ids.push((await registry.rollouts.folder()).revision!)
  }
  const [first, second] = ids
  return [first!, second!]
}

const same = async (rig: RemoteRig, ...argv: string[]): Promise<string> => {
  const [here, there] = [await rig.local(...argv), await rig.remote(...argv)]
  assert.deepEqual(there, here, argv.join(' '))
  return here.out
}

test('what commands show is the same beside the hub and from another machine', async (t) => {
  const rig = await remoteRig(t)
  const [first, second] = await fill(rig)
  await rig.enter()
  const shown: readonly (readonly [pattern: RegExp, ...argv: string[]])[] = [
    [/^NODE .*\ngw-1 .*\ngw-2 /, 'devices'],
    [/^NODE .*\ngw-1 [^\n]*\n$/, 'devices', '--label', 'site=north'],
    [/^NODE .*\ngw-2 [^\n]*\ngw-2 refused: /, 'devices', '--where', 'refused>0'],
    [/^\[\{"name":"gw-1"/, 'devices', '-o', 'json'],
    [/^\[\{"name":"gw-1"/, 'devices', '--json', '--limit', '2'],
    [/^name,state,/, 'devices', '-o', 'csv'],
    [/^NODE .*\n$/, 'devices', '--where', 'name=none'],
    [/MESH_CLOCK_WRONG: its clock \\u009b31m/, 'device', 'show', 'gw-1'],
    [/^\{"row":/, 'device', 'show', 'gw-1', '-o', 'json'],
    [/It has not reported/, 'device', 'show', 'gw-3'],
    [/^NAME .*\nnew-1 +pending/, 'device', 'list'],
    [/"state":"pending"/, 'device', 'list', '--json'],
    [/problem {2}a word of its own \\u001b/, 'watch'],
    [/"devices":\["gw-1"\]/, 'watch', '-o', 'json', '--label', 'site=north'],
    [/gw-1 gw-2 gw-3 gw-4 gw-5 and 8 more/, 'token', 'list'],
    [/^\[\{"jti":"j1"/, 'token', 'list', '--json'],
    [new RegExp(`^REVISION .*\\n${second}`), 'revision', 'list'],
    [/"use":"[^"]*in the folder/, 'revision', 'list', '--json'],
    [/^.*taken .*\nFILE .*\na\.yaml /, 'revision', 'show', first.slice(0, 6)],
    [/"paths":\[\{"path":"a\.yaml"/, 'revision', 'show', second, '--json'],
    [/\n-connect_timeout: 1s\n\+connect_timeout: 2s\n/, 'revision', 'diff', first, second.slice(0, 5)],
    [/"what":"changed"/, 'revision', 'diff', first, second, '--json'],
    [/^DEVICE .*\ngw-1 /, 'revision', 'who'],
    [/^\[\{"name":"gw-1"/, 'revision', 'who', second, '--json'],
    [/in force for all: /, 'rollout', 'status'],
    [/"inForce":\[/, 'rollout', 'status', '--json'],
    [/^ROLLOUT .*\n/, 'rollout', 'list'],
    [/^\[\{/, 'rollout', 'list', '--json'],
    [/console\.login/, 'audit'],
    [/"event":"console\.login"/, 'audit', '-o', 'json', '--last', '2'],
    [/^WHEN .*\n$/, 'audit', '--of', 'nobody'],
    [/operator:ann +ann +admin of all namespaces +cli/, 'sessions'],
    [/"via":"cli"/, 'sessions', '--json'],
  ]
  for (const [pattern, ...argv] of shown) assert.match(await same(rig, ...argv), pattern, argv.join(' '))
  const said = await Promise.all([rig.remote('devices'), rig.remote('device', 'show', 'gw-1'), rig.remote('watch')])
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  assert.doesNotMatch(said.map(({ out }) => out).join(''), /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/)
})

test('a mistake is told in the same words, with the same exit code', async (t) => {
  const rig = await remoteRig(t)
  await fill(rig)
  await rig.enter()
  await rig.local('rollout', 'abort')
  for (const argv of [
    ['devices', '--where', 'nonsense=1'],
    ['devices', '--where', 'name='],
    ['device', 'show', 'nosuch'],
    ['revision', 'show', 'ffffffff'],
    ['revision', 'diff', 'ffffffff', 'ffffffff'],
    ['revision', 'who', 'ffffffff'],
    ['rollout', 'pause'],
    ['rollout', 'resume'],
    ['rollout', 'abort'],
    ['rollout', 'start', '--to', 'ffffffff'],
    ['rollout', 'start', '--to', 'ffffffff', '--waves', 'x'],
    ['token', 'revoke', 'nosuch'],
    ['token', 'create', '-n', 'Edge!', '-s', 'gw', '--name', 'x'],
    ['token', 'create', '-n', 'edge', '-s', 'gw', '--name', 'x', '--cidr', 'nowhere'],
    ['device', 'status', 'gw-1'],
    ['sessions', 'end', 'operator:nobody'],
  ])
    assert.equal((await same(rig, ...argv)).length, 0)
  // What a name is not for somebody to see is told like one that is not there.
  for (const argv of [
    ['device', 'approve', 'nosuch'],
    ['device', 'deny', 'nosuch'],
    ['device', 'revoke', 'nosuch'],
    ['devices', 'forget', 'nosuch'],
    ['device', 'logs', '../nosuch'],
  ]) {
    const { code, err } = await rig.remote(...argv)
    assert.deepEqual([code, (await rig.local(...argv)).code], [2, 2], argv.join(' '))
    assert.match(err, /known/)
  }
})

test('what commands change is said in the same words, and the audit log names who did it, from where', async (t) => {
  const rig = await remoteRig(t)
  const [first, second] = await fill(rig)
  await rig.enter()
  // Each by two of a kind: one here, one there.
  const pairs: readonly (readonly [here: string, there: string, ...argv: string[]])[] = [
    ['new-1', 'new-2', 'device', 'approve', 'NAME'],
    ['new-3', 'new-4', 'device', 'deny', 'NAME'],
    ['gw-3', 'gw-4', 'device', 'revoke', 'NAME'],
    ['gw-3', 'gw-4', 'device', 'approve', 'NAME'],
    ['gw-5', 'gw-6', 'devices', 'forget', 'NAME'],
  ]
  for (const [here, there, ...argv] of pairs) {
    const local = await rig.local(...argv.map((one) => one.replace('NAME', here)))
    const remote = await rig.remote(...argv.map((one) => one.replace('NAME', there)))
    assert.deepEqual({ ...remote, out: remote.out.replaceAll(there, here) }, local, argv.join(' '))
    assert.equal(local.code, 0, local.err)
  }
  await rig.local('rollout', 'abort')
  const plain = (text: string): string => text.replaceAll(/\b[0-9a-f]{8}\b/g, 'ID')
  for (const argv of [
    ['rollout', 'start', '--to', first, '--now', '--why', 'of the test'],
    ['rollout', 'undo', '--why', 'back'],
    ['rollout', 'start', '--to', second, '--label', 'site=north', '--waves', '50%,100%', '--soak', '10m'],
    ['rollout', 'pause', '--why', 'wait'],
    ['rollout', 'resume'],
    ['rollout', 'abort', '--why', 'enough'],
  ]) {
    const { code, out, err } = await rig.remote(...argv)
    assert.equal(code, 0, `${argv.join(' ')}: ${err}`)
    const { out: status } = await rig.local('rollout', 'status')
    assert.ok(plain(status).includes(plain(out).trim().split(', soaked')[0]!), `${out} in ${status}`)
  }
  const { out } = await rig.local('audit', '-o', 'json')
  const rows = JSON.parse(out) as { event: string; actor: string; address: string; subject: string }[]
  const decided: readonly (readonly [event: string, subject: string])[] = [
    ['device.approved', 'new-2'],
    ['device.denied', 'new-4'],
    ['device.revoked', 'gw-4'],
    ['device.forgotten', 'gw-6'],
  ]
  for (const [event, subject] of decided)
    assert.deepEqual(
      rows
        .filter((row) => row.event === event && row.subject === subject)
        .map(({ actor, address }) => [actor, address]),
      [['operator:ann', '127.0.0.1']],
      event,
    )
  assert.ok(rows.some((row) => row.event === 'rollout.aborted' && row.actor === 'operator:ann'))
})

test('tokens are made, kept in a file of their own and revoked from another machine as beside the hub', async (t) => {
  const rig = await remoteRig(t)
  await rig.enter([{ namespace: 'edge', role: 'operator' }])
  const folder = temporaryFolder(t)
  const make = ['token', 'create', '-n', 'edge', '-s', 'gw', '--name', 'x-{n}', '--count', '450', '--label', 'site=n']
  const lines = async (run: RemoteRig['remote'], name: string): Promise<readonly string[]> => {
    const file = path.join(folder, name)
    const { code, out, err } = await run(...make, '--out', file)
    assert.deepEqual([code, out], [0, `${file}: 450 token(s), shown nowhere else\n`], err)
    assert.equal(fs.statSync(file).mode & 0o777, 0o600)
    return fs.readFileSync(file, 'utf8').trim().split('\n')
  }
  const [here, there] = [await lines(rig.local, 'here.csv'), await lines(rig.remote, 'there.csv')]
  assert.deepEqual([here.length, there.length, there[0]], [451, 451, 'id,name,token,expires'])
  assert.deepEqual(
    there.map((line) => line.split(',')[1]),
    here.map((line) => line.split(',')[1]),
  )
  const [, line = ''] = there
  const [id = ''] = line.split(',')
  assert.deepEqual((await rig.hub.registry.token(id))?.maxUses, 1)
  const revoked = await rig.remote('token', 'revoke', id)
  assert.match(revoked.out, new RegExp(`^revoked: ${id}, edge/gw, used by 0 key\\(s\\)`))
  assert.deepEqual(await rig.local('token', 'revoke', id), revoked)
  const one = await rig.remote('token', 'create', '-n', 'edge', '-s', 'gw', '--name', 'solo', '--json')
  assert.deepEqual(Object.keys(JSON.parse(one.out) as object), ['id', 'token', 'expires', 'namespace', 'node', 'name'])
  const there450 = (await rig.hub.registry.tokens()).length
  const full = await rig.remote(...make, '--out', path.join(folder, 'nosuch', 'x.csv'))
  assert.equal(full.code, 2)
  assert.equal((await rig.hub.registry.tokens()).length, there450, 'what cannot be written is not made')
})

test('a role holds from another machine as it does in the console', async (t) => {
  const rig = await remoteRig(t)
  const [first] = await fill(rig)
  const codeOf = async (...argv: string[]): Promise<string> =>
    /MESH_[A-Z_]+/.exec((await rig.remote(...argv)).err)?.[0] ?? 'ok'
  await rig.enter([{ namespace: 'edge', role: 'viewer' }])
  assert.equal(await codeOf('devices'), 'ok')
  assert.equal(await codeOf('device', 'revoke', 'gw-1'), 'MESH_CONSOLE_FORBIDDEN')
  assert.equal(await codeOf('token', 'create', '-n', 'edge', '-s', 'gw', '--name', 'x'), 'MESH_CONSOLE_FORBIDDEN')
  assert.equal(await codeOf('rollout', 'status'), 'MESH_CONSOLE_FORBIDDEN')
  assert.equal(await codeOf('sessions'), 'MESH_CONSOLE_FORBIDDEN')
  await rig.enter([{ namespace: 'lab', role: 'admin' }])
  assert.match((await rig.remote('devices')).out, /^NODE .*\n$/, 'a foreign namespace is empty')
  assert.match((await rig.remote('device', 'list')).out, /^NAME .*\n$/)
  assert.match((await rig.remote('token', 'list')).out, /^ID .*\n$/)
  assert.equal((await rig.remote('watch')).out, '')
  assert.equal(await codeOf('device', 'show', 'gw-1'), 'MESH_CONFIG_INVALID')
  assert.equal(await codeOf('device', 'revoke', 'gw-1'), 'MESH_CONFIG_INVALID')
  assert.equal(await codeOf('token', 'revoke', 'j1'), 'MESH_CONFIG_INVALID')
  await rig.enter([{ namespace: '*', role: 'operator' }])
  assert.equal(await codeOf('rollout', 'start', '--to', first, '--now'), 'MESH_CONSOLE_FORBIDDEN')
  assert.equal(await codeOf('revision', 'list'), 'ok')
  assert.equal((await rig.hub.registry.enrollments.byName('gw-1'))?.state, 'active')
})

test('over HTTPS the hub is known by its pin or its root, and by nothing less', async (t) => {
  const rig = await remoteRig(t, 'console: {listen: "0.0.0.0:0"}\ndnsNames: [localhost]')
  const url = `https://localhost:${rig.hub.consolePort}`
  const roots = path.join(temporaryFolder(t), 'roots.pem')
  fs.writeFileSync(roots, rig.hub.rootsPem)
  const login = async (at: string, ...argv: string[]) =>
    rig.machine.run(['login', '--hub', at, ...argv], typing(await rig.link(undefined, 'operator:ann')))
  const codeOf = ({ err }: { readonly err: string }): string => /MESH_[A-Z_]+/.exec(err)?.[0] ?? 'ok'
  assert.equal(codeOf(await login(url)), 'MESH_HUB_TLS', 'the system does not know it')
  const wrong = await login(url, '--ca-pin', `sha256:${'0'.repeat(64)}`)
  assert.equal(codeOf(wrong), 'MESH_HUB_TLS')
  const shown = /it shows sha256:[0-9a-f]{64}, (sha256:[0-9a-f]{64})/.exec(wrong.err)?.[1] ?? ''
  assert.equal(
    codeOf(await login(`https://127.0.0.1:${rig.hub.consolePort}`, '--ca-file', roots)),
    'MESH_HUB_TLS',
    'name',
  )
  assert.equal((await rig.hub.registry.sessions.all()).length, 0)
  for (const by of [['--ca-file', roots] as const, ['--ca-pin', shown] as const]) {
    assert.equal(codeOf(await login(url, ...by)), 'ok', by[0])
    const { code, err } = await rig.machine.run(['devices', '--hub', url])
    assert.equal(code, 0, err)
    assert.equal((await rig.machine.run(['logout', '--hub', url])).code, 0)
  }
  for (const by of [
    ['--ca-file', '/nosuch'],
    ['--ca-pin', 'sha1:00'],
    ['--ca-file', roots, '--ca-pin', shown],
  ])
    assert.equal((await login(url, ...by)).code, 2, by.join(' '))
})
