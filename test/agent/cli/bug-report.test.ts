import { test } from 'node:test'
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import http from 'node:http'
import type net from 'node:net'
import path from 'node:path'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { testCa } from '../../helpers/test-ca.ts'
import { meshlet } from '../../scenarios/cli.ts'

const { keyPem } = testCa().issue('a', 'b')
const KEY = keyPem.split('\n')[1]!
const JWT = 'eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln'
const PAGES: Readonly<Record<string, string>> = {
  '/status': JSON.stringify({ version: '1', problems: [{ text: `a token ${JWT}` }] }),
  '/config_dump': JSON.stringify({
    configs: [
      { header: { key: 'Authorization', value: 'Basic c2VjcmV0' } },
      { initial_metadata: [{ key: 'x-api-key', value: 'secret-1' }] },
      { metadata: { client_secret: 'secret-2', clientSecret: 'secret-3', name: 'kept' } },
      { uri: 'https://user:secret-4@issuer.example.com/keys', key: keyPem },
      { name: 'outbound|80||shop.default.svc.cluster.local' },
    ],
  }),
  '/clusters?format=json': '{}',
  '/certs': '{}',
  '/stats/prometheus': 'mesh_config_stale 0\n',
}
const YAML = `node: {name: a}
control: {address: "istiod:15012", token: /etc/meshlet/token}
mqtt:
  bridges: [{cluster: c, httpProxy: "http://user:secret-5@proxy:3128", password: secret-6}]
  users: {passwordFile: /etc/meshlet/passwd}
`

/** Its files by name. */
function unpack(archive: string): Record<string, string> {
  const folder = `${archive}.d`
  fs.mkdirSync(folder)
  execFileSync('tar', ['-xzf', archive, '-C', folder])
  return Object.fromEntries(fs.readdirSync(folder).map((n) => [n, fs.readFileSync(path.join(folder, n), 'utf8')]))
}

test('an archive of what the agent says and of agent.yaml, for its owner alone, without what is secret', async (t) => {
  const folder = temporaryFolder(t)
  const server = http.createServer((req, res) => res.end(PAGES[req.url ?? ''])).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  fs.writeFileSync(path.join(folder, 'agent.yaml'), YAML)
  const output = path.join(folder, 'report.tar.gz')
  const { port } = server.address() as net.AddressInfo
  const argv = ['bug-report', '--admin', `127.0.0.1:${port}`, '-c', path.join(folder, 'agent.yaml'), '-o', output]
  const said = await meshlet(argv)
  assert.equal(said.code, 0, said.err)
  assert.match(said.out, /report\.tar\.gz/)
  assert.ok(!said.out.includes('missing'))
  assert.equal(fs.statSync(output).mode & 0o777, 0o600)
  const files = unpack(output)
  assert.deepEqual(Object.keys(files).sort(), [
    'about.json',
    'agent.yaml',
    'certs.json',
    'clusters.json',
    'config_dump.json',
    'metrics.txt',
    'status.json',
  ])
  const all = Object.values(files).join('\n')
  for (const secret of [KEY, JWT, 'c2VjcmV0', ...[1, 2, 3, 4, 5, 6].map((no) => `secret-${no}`)])
    assert.ok(!all.includes(secret), secret)
  assert.match(files['config_dump.json']!, /outbound\|80\|\|shop/)
  assert.match(files['config_dump.json']!, /"name": "kept"/)
  assert.match(files['agent.yaml']!, /token: \/etc\/meshlet\/token[\s\S]*passwordFile: \/etc\/meshlet\/passwd/)
  assert.match(files['metrics.txt']!, /^mesh_config_stale 0$/m)
  assert.deepEqual((JSON.parse(files['about.json']!) as { missing: unknown }).missing, [])
})

test('without an agent and without agent.yaml it says what is missing', async (t) => {
  const folder = temporaryFolder(t)
  const output = path.join(folder, 'report.tar.gz')
  const { code, out } = await meshlet([
    'bug-report',
    '--admin',
    '127.0.0.1:1',
    '-c',
    `${folder}/none.yaml`,
    '-o',
    output,
  ])
  assert.equal(code, 0)
  assert.match(out, /missing: status\.json: MESH_AGENT_UNREACHABLE/)
  assert.match(out, /missing: agent\.yaml: there is no file/)
  assert.deepEqual(Object.keys(unpack(output)), ['about.json'])
})
