/** The API as a hostile or broken hub, or something between, answers it. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import fs from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { HubClient, MAX_ANSWER_BYTES } from '../../../../hub/cli/console/client.ts'
import { done } from '../../../../hub/console/schemas.ts'
import type { MeshError } from '../../../../core/errors.ts'
import { systemClock } from '../../../../core/os/clock.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'
import { makeMachine, type Machine } from '../remote-rig.ts'

type Answer = (request: http.IncomingMessage, response: http.ServerResponse) => void

async function startHostile(t: { after(fn: () => void): void }, answer: Answer): Promise<string> {
  const server = http.createServer(answer)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function saveLogin({ savedLogins }: Machine, hub: string): void {
  fs.mkdirSync(path.dirname(savedLogins), { recursive: true })
  const login = { secret: 'S'.repeat(43), operator: 'operator:ann', endsMs: 1e15, version: '9.9\u001b[2J' }
  fs.writeFileSync(savedLogins, JSON.stringify({ [hub]: login }), { mode: 0o600 })
}

/** Somebody is logged in there. */
async function meet(t: { after(fn: () => void): void }, answer: Answer) {
  const hub = await startHostile(t, answer)
  const machine = makeMachine(t)
  saveLogin(machine, hub)
  return { hub, run: (...argv: string[]) => machine.run([...argv, '--hub', hub]) }
}
const sayJson = (status: number, said: unknown): Answer => {
  return (_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(JSON.stringify(said))
  }
}
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const OBEYED = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/
const EVIL = '\u001b]0;owned\u0007\u009b2J\u202e'

test('what is no answer of a hub is told with its status or its place, and never as it came', async (t) => {
  const cases: readonly (readonly [Answer, RegExp])[] = [
    [
      sayJson(200, { nothing: true }),
      /MESH_HUB_ANSWER: .* answers \/api\/v1\/fleet with what this version does not read \(total: /,
    ],
    [sayJson(200, []), /MESH_HUB_ANSWER/],
    [sayJson(200, null), /MESH_HUB_ANSWER/],
    [sayJson(200, { total: 1, offset: 0, isHubThere: true, rows: [{ name: 4 }] }), /\(rows\.0\.name: /],
    [
      sayJson(404, { code: 'MESH_API_NOT_FOUND', message: 'there is no such path' }),
      /has no \/api\/v1\/fleet; this is meshlet-hub development, and the hub was 9\.9\\u001b\[2J/,
    ],
    [sayJson(404, { code: 'MESH_CONSOLE_NOT_FOUND', message: 'there is no such path' }), /has no \/api\/v1\/fleet/],
    [sayJson(401, { code: 'MESH_CONSOLE_LOGIN', message: `over${EVIL}` }), /MESH_HUB_SESSION: .*over\\u001b/],
    [sayJson(403, { code: 'MESH_CONSOLE_FORBIDDEN', message: EVIL.repeat(9_000) }), /^.{0,20000}$/s],
    [sayJson(500, { code: `MESH_${EVIL}`, message: 'no' }), /MESH_HUB_ANSWER: .* refuses: MESH_\\u001b/],
    [sayJson(500, { code: 'toString', message: 'no' }), /MESH_HUB_ANSWER: .* refuses: toString/],
    [sayJson(429, { code: 'MESH_CONTROL_SLOW_DOWN', message: 'more than 10' }), /MESH_CONTROL_SLOW_DOWN: more than 10/],
    [
      (_q, r) => r.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
      /answers with status 302, and not as a hub does/,
    ],
    [(_q, r) => r.writeHead(502).end(`<html>${EVIL}`), /answers with status 502/],
    [(_q, r) => r.end('{'.repeat(100_000)), /MESH_HUB_ANSWER/],
    [(q) => q.socket.destroy(), /MESH_HUB_UNREACHABLE: .* does not answer/],
    [(q) => q.socket.end('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab'), /MESH_HUB_UNREACHABLE/],
    [(q) => q.socket.end(`SSH-2.0-${EVIL}\r\n`), /MESH_HUB_UNREACHABLE/],
  ]
  for (const [answer, pattern] of cases) {
    const { run } = await meet(t, answer)
    const { code, out, err } = await run('devices')
    assert.deepEqual([code, out], [1, ''], err)
    assert.match(err, pattern)
    assert.doesNotMatch(err, OBEYED)
    assert.ok(!err.includes('S'.repeat(43)))
  }
})

test('an answer without an end is cut off at its bound, and a list without an end at its own', async (t) => {
  const part = Buffer.alloc(1024 * 1024, 0x20)
  let sent = 0
  const endless = await meet(t, (request, response) => {
    const pour = (): void => {
      while (!request.socket.destroyed) {
        sent += part.length
        if (!response.write(part)) break
      }
    }
    response.on('drain', pour)
    pour()
  })
  const { code, err } = await endless.run('device', 'list')
  assert.equal(code, 1)
  assert.match(err, new RegExp(`MESH_HUB_ANSWER: .* more than ${MAX_ANSWER_BYTES} bytes`))
  assert.ok(sent < 8 * MAX_ANSWER_BYTES, String(sent))
  const row = { path: 'a', source: '', content: '', resources: 1 }
  const answers: Readonly<Record<string, object>> = {
    '/api/v1/revisions': { revisions: [{ id: 'abcd', takenMs: 1, files: 1, resources: 1, bytes: 1, use: [] }] },
    '/api/v1/revisions/abcd/files': { total: 1e15, files: Array.from({ length: 500 }, () => row) },
  }
  const rows = await meet(t, (request, response) =>
    sayJson(200, answers[request.url!.split('?')[0]!])(request, response),
  )
  assert.match((await rows.run('revision', 'show', 'abcd')).err, /MESH_HUB_ANSWER: the hub has more than 200000 rows/)
  const empty = await meet(t, sayJson(200, { total: 1e15, devices: [] }))
  assert.equal((await empty.run('device', 'list')).code, 0, 'an empty page is the end, whatever was promised')
})

/** Every text of it is evil. */
const name = `gw${EVIL}`
const of = {
  name,
  keyId: EVIL,
  namespace: EVIL,
  serviceAccount: EVIL,
  jti: EVIL,
  labels: { [EVIL]: EVIL },
  address: EVIL,
}
const revision = { id: `abcd${EVIL}`, takenMs: 1, files: 1, resources: 1, bytes: 1, use: [EVIL] }
const folder = { revision: EVIL, problems: [EVIL], held: EVIL, seenMs: 1 }
const folders = [{ host: EVIL, revision: 'x', behind: EVIL, seenMs: 1 }]
const inForce = [{ scope: { kind: 'labels', labels: { [EVIL]: EVIL } }, revision: EVIL }]
const row = {
  name,
  state: 'gone',
  since: 1,
  seen: 1,
  joined: 1,
  address: EVIL,
  identity: EVIL,
  namespace: EVIL,
  labels: {},
  cloned: true,
  refused: 1,
  refusal: EVIL,
  problem: [EVIL],
  revision: EVIL,
  serial: EVIL,
  version: EVIL,
}
const rollout = {
  id: EVIL,
  to: EVIL,
  scope: inForce[0]!.scope,
  state: 'running',
  waves: EVIL,
  halt: EVIL,
  by: EVIL,
  reason: EVIL,
  soakMs: 1,
  awayMs: 1,
  wave: 0,
  soakedMs: 1,
  startedMs: 1,
  endedMs: null,
  salt: EVIL,
  upTo: [1],
  before: inForce,
  sequence: 1,
}
const grants = [{ namespace: EVIL, role: 'admin' }]
const token = {
  id: EVIL,
  namespace: EVIL,
  serviceAccount: EVIL,
  nodes: EVIL,
  state: 'valid',
  uses: 1,
  maxUses: null,
  labels: {},
  createdMs: 1,
  expiresMs: 1,
  revokedMs: null,
  cidrs: [EVIL],
  approval: false,
  devices: [EVIL],
  devicesTotal: 1,
}
/** By path. */
const ANSWERS: Readonly<Record<string, object>> = {
  fleet: { total: 1, offset: 0, isHubThere: false, rows: [row] },
  enrollments: { total: 1, devices: [{ ...of, why: EVIL, askedMs: 1, state: 'pending' }] },
  'devices/x/record': {
    row,
    problems: [{ code: EVIL, text: EVIL, remedy: EVIL }],
    minutes: [],
    hours: [],
    events: [{ id: 1, atMs: 1, device: EVIL, event: 'problem', reason: EVIL }],
  },
  'devices/x/approve': { detail: EVIL },
  'devices/x/deny': { detail: EVIL },
  'devices/x/revoke': { detail: EVIL },
  'devices/x/forget': { detail: EVIL },
  'devices/x/ask': { form: 'text', text: EVIL },
  'device-events': {
    newest: 1,
    isFull: false,
    events: [{ id: 1, atMs: 1, device: EVIL, event: 'problem', reason: EVIL }],
  },
  tokens: { total: 1, tokens: [token] },
  'tokens/x/revoke': { detail: EVIL, token },
  revisions: { revisions: [revision] },
  'device-revisions': {
    total: 1,
    devices: [{ name, labels: {}, connected: true, desired: EVIL, inForce: EVIL, refused: EVIL }],
  },
  'rollouts/status': { rollout: null, devices: null, inForce, folder, folders },
  'rollouts/records': { rollouts: [rollout] },
  'rollouts/current/abort': { rollout: { ...rollout, scope: EVIL, waveCount: 1, before: [] } },
  audit: { entries: [{ id: 1, atMs: 1, actor: EVIL, event: EVIL, subject: EVIL, address: EVIL, detail: EVIL }] },
  sessions: {
    sessions: [
      {
        id: 'x',
        name: EVIL,
        operator: EVIL,
        via: 'cli',
        grants,
        claims: [],
        createdMs: 1,
        seenMs: 1,
        endsMs: 1,
        address: EVIL,
        own: true,
      },
    ],
  },
  'sessions/end': { ended: 1 },
}

test('what a hub says of devices, tokens and people writes nothing to a terminal but text', async (t) => {
  let audits = 0
  const { run } = await meet(t, (request, response) => {
    const at = request.url!.slice('/api/v1/'.length).split('?')[0]!
    const said = at === 'audit' && audits++ > 0 ? { entries: [] } : ANSWERS[at]
    sayJson(said ? 200 : 500, said)(request, response)
  })
  for (const argv of [
    ['devices'],
    ['devices', '-o', 'csv'],
    ['device', 'list'],
    ['device', 'show', 'x'],
    ['device', 'approve', 'x'],
    ['device', 'deny', 'x'],
    ['device', 'revoke', 'x'],
    ['devices', 'forget', 'x'],
    ['device', 'status', 'x'],
    ['watch'],
    ['token', 'list'],
    ['token', 'revoke', 'x'],
    ['revision', 'list'],
    ['revision', 'who'],
    ['rollout', 'status'],
    ['rollout', 'list'],
    ['rollout', 'abort'],
    ['audit'],
    ['sessions'],
  ]) {
    const { code, out, err } = await run(...argv)
    assert.equal(code, 0, `${argv.join(' ')}: ${err}`)
    assert.doesNotMatch((out + err).replaceAll('\r\n', '\n'), OBEYED, argv.join(' '))
  }
})

test('a file that a device is said to have sent is named after the device that was asked for, and written over nothing', async (t) => {
  const { run } = await meet(t, sayJson(200, { form: 'file', name: '../../etc/passwd\n', content: 'eA==' }))
  const before = process.cwd()
  const folder = temporaryFolder(t)
  t.after(() => process.chdir(before))
  process.chdir(folder)
  assert.equal((await run('device', 'command', 'gw-1', 'bug-report')).out, 'gw-1-passwd_\n')
  assert.deepEqual(fs.readdirSync(folder), ['gw-1-passwd_'])
  assert.equal((await run('device', 'command', 'gw-1', 'bug-report')).code, 1, 'it is there')
})

test('the bearer goes to the hub that it is of, and the name of a device stays in its place of the path', async (t) => {
  const asked: string[] = []
  const { hub, run } = await meet(t, (request, response) => {
    asked.push(`${request.method} ${request.url} ${request.headers.authorization} ${request.headers.host}`)
    sayJson(200, { detail: 'key k' })(request, response)
  })
  await run('device', 'deny', '../../x?y#z')
  assert.deepEqual(asked, [
    `POST /api/v1/devices/..%2F..%2Fx%3Fy%23z/deny Bearer ${'S'.repeat(43)} ${new URL(hub).host}`,
  ])
  using stranger = new HubClient({ url: new URL(hub), roots: undefined, secret: undefined, clock: systemClock })
  await stranger.ask({ path: 'x', query: { a: 'b c', none: undefined, n: 1 }, answer: done })
  assert.match(asked[1]!, /^GET \/api\/v1\/x\?a=b\+c&n=1 undefined /)
})

test('watch tells what comes, waits for a hub that is away, and ends when it is asked to, whatever the hub does', async (t) => {
  const stop = Promise.withResolvers<string>()
  const event = (id: number) => ({ id, atMs: 1, device: `gw-${id}`, event: 'connected', reason: 'over the relay' })
  const asked: string[] = []
  const hub = await startHostile(t, (request, response) => {
    asked.push(request.url!.split('?')[1]!)
    const n = asked.length
    if (n <= 2) sayJson(200, { newest: n, isFull: n === 2, events: [event(n)] })(request, response)
    else {
      request.socket.destroy()
      stop.resolve('test')
    }
  })
  const machine = makeMachine(t)
  saveLogin(machine, hub)
  const { code, out, err } = await machine.run(['watch', '--hub', hub, '--last', '1', '--label', 'site=n'], {
    stopRequested: () => stop.promise,
  })
  assert.equal(code, 0)
  assert.match(out, /gw-1 {2}connected.*\n.*gw-2 {2}connected/)
  assert.deepEqual(asked, ['last=1&labels=site%3Dn', 'after=1&labels=site%3Dn', 'after=2&labels=site%3Dn'])
  assert.match(err, /^(?:meshlet-hub: MESH_HUB_UNREACHABLE: [^\n]*\n)?$/, 'told once')
})

test('a hub that says nothing is given up on', async (t) => {
  const clock = new SimClock()
  const asked = Promise.withResolvers<void>()
  const hub = await startHostile(t, () => asked.resolve())
  using client = new HubClient({ url: new URL(hub), roots: undefined, secret: undefined, clock })
  const failed = assert.rejects(
    client.ask({ path: 'x', answer: done }),
    (err: MeshError) => err.code === 'MESH_HUB_UNREACHABLE',
  )
  await asked.promise
  await clock.advance(60_000)
  await failed
})
