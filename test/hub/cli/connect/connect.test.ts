/** `meshlet-hub connect` as a process of its own, through a hub to a port behind a real agent. */
import assert from 'node:assert/strict'
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import fs from 'node:fs'
import http from 'node:http'
import type net from 'node:net'
import { test } from 'node:test'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'
import { controlYaml, TestAgent, until } from '../../../scenarios/site.ts'
import { services } from '../../relay/rig.ts'
import { testHub } from '../../start-hub.ts'
import { hubCli } from '../hub-cli.ts'

test('connect has help, and refuses ports and addresses that are none', async (t) => {
  const { cli, config } = hubCli(t)
  const { code, out } = await cli('connect', '--help')
  assert.equal(code, 0)
  assert.match(out, /^Usage: meshlet-hub connect /)
  for (const wrong of [['0'], ['65536'], ['http'], ['80', '--listen', '0.0.0.0:80'], ['80', '--listen', 'x']])
    assert.equal((await cli('connect', 'gw-1', ...wrong, '-c', config)).code, 2, wrong.join(' '))
  const { code: failed, err } = await cli('connect', 'gw-1', '80', '-c', config)
  assert.equal(failed, 1)
  assert.match(err, /MESH_CONNECT_NO_HUB: there is no .*connect\.sock/)
})

test('HTTP on a loopback port, bytes on standard input and output, until the hub has gone', async (t) => {
  const page = http.createServer((_request, response) => response.end('the page of the device'))
  await new Promise<void>((done) => {
    page.listen(0, '127.0.0.1', done)
  })
  t.after(() => page.close())
  const { port } = page.address() as net.AddressInfo
  const hub = await testHub(t, 'relay: {listen: "127.0.0.1:0"}\n')
  hub.write('mesh.json', services(2))
  const folder = temporaryFolder(t)
  fs.writeFileSync(`${folder}/roots.pem`, hub.hub.rootsPem)
  const { token } = await hub.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: 'edge' })
  fs.writeFileSync(`${folder}/edge.token`, token)
  const control = controlYaml(folder, 'edge', hub.hub.port).replace(
    `127.0.0.1:${hub.hub.port}`,
    `wss://127.0.0.1:${hub.hub.relayPort}`,
  )
  const agent = new TestAgent(t, `node: {name: edge, namespace: edge, serviceAccount: gateway}\n${control}`)
  const permitted = agent.yaml.replace(/control:\s*\{/, `control: {connect: {ports: [${port}]}, `)
  agent.yaml =
    permitted === agent.yaml ? agent.yaml.replace('control:\n', `control:\n  connect: {ports: [${port}]}\n`) : permitted
  assert.match(agent.yaml, /connect: \{ports/)
  await agent.start()
  await until('clusters are there', () => agent.status().config.resources['clusters'] === 2)

  const config = `${folder}/hub.yaml`
  fs.writeFileSync(config, `resources: ${hub.folder}/resources\nstate: ${hub.folder}/state\n`)
  const run = (...more: string[]): ChildProcessWithoutNullStreams => {
    const child = spawn(process.execPath, ['hub/main.ts', 'connect', 'edge', ...more, '-c', config])
    t.after(() => child.kill('SIGKILL'))
    return child
  }
  const listening = run(`${port}`)
  const said = await new Promise<string>((resolve) => {
    listening.stdout.once('data', (bytes: Buffer) => resolve(bytes.toString()))
    listening.stderr.once('data', (bytes: Buffer) => resolve(bytes.toString()))
  })
  const at = /^(127\.0\.0\.1:\d+) is port/.exec(said)?.[1]
  assert.ok(at, said)
  assert.equal(await (await fetch(`http://${at}/`)).text(), 'the page of the device')

  const stdio = run(`${port}`, '--stdio')
  stdio.stdin.end('GET / HTTP/1.0\r\n\r\n')
  const { out, code } = await collect(stdio)
  assert.match(out, /^HTTP\/1\.1 200 [^]*the page of the device$/)
  assert.equal(code, 0)

  const refused = await collect(run('1', '--stdio'))
  assert.equal(refused.code, 1)
  assert.match(refused.err, /MESH_CONNECT_FORBIDDEN: edge: .*ports: \[1\]/)

  const ended = collect(listening)
  await hub.hub[Symbol.asyncDispose]()
  const { code: gone, err } = await ended
  assert.equal(gone, 1)
  assert.match(err, /MESH_CONNECT_NO_HUB/)
})

async function collect(child: ChildProcessWithoutNullStreams) {
  const [out, err]: [Buffer[], Buffer[]] = [[], []]
  child.stdout.on('data', (bytes: Buffer) => out.push(bytes))
  child.stderr.on('data', (bytes: Buffer) => err.push(bytes))
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  return { out: Buffer.concat(out).toString(), err: Buffer.concat(err).toString(), code }
}
