import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { suite, test } from 'node:test'
import { createRealWorld } from '../../../core/real-world.ts'
import { silentLog } from '../../../core/log.ts'
import { runCli } from '../../../hub/cli/program.ts'
import { parseHubConfig } from '../../../hub/config.ts'
import { startHub } from '../../../hub/hub.ts'
import { compileFolder, formatProblem } from '../../../hub/istio/compile-folder.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { ask, TestAgent, until } from '../../scenarios/site.ts'

async function init(folder: string) {
  const said = { out: '', err: '' }
  const code = await runCli(['init', folder], {
    out: (text) => void (said.out += text),
    err: (text) => void (said.err += text),
    stopRequested: () => new Promise(() => {}),
  })
  return { code, ...said }
}
const listFiles = (folder: string): string[] =>
  fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile())
    .map((e) => e.name)
    .sort()

await suite('meshlet-hub init', async () => {
  await test('what it writes serves at once: a hub, an agent that joins, a request', async (t) => {
    const folder = temporaryFolder(t)
    const { code, out } = await init(folder)
    assert.equal(code, 0)
    assert.match(out, new RegExp(`meshlet-hub run -c ${folder}/hub\\.yaml`))
    const text = fs.readFileSync(`${folder}/hub.yaml`, 'utf8').replace('0.0.0.0:15012', '127.0.0.1:0')
    const config = parseHubConfig(`${text}admin: {port: 0}\n`)
    const hub = await startHub(config, createRealWorld({ bundle: undefined }), { log: silentLog })
    t.after(() => hub[Symbol.asyncDispose]())
    fs.writeFileSync(`${folder}/roots.pem`, hub.rootsPem)
    const { token } = await hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: 'edge-1' })
    fs.writeFileSync(`${folder}/edge.token`, token)
    const [port] = (await freePorts(1)) as [number]
    const agent = new TestAgent(
      t,
      `node: {name: edge-1, namespace: edge, serviceAccount: gateway}
listeners: [{kind: http_proxy, name: out, port: ${port}, address: 127.0.0.1}]
control: {address: "127.0.0.1:${hub.port}", roots: ${folder}/roots.pem, token: ${folder}/edge.token}
`,
    )
    await agent.start()
    await agent.connected()
    const answer = await until('the example answers', async () => {
      const { status, body } = await ask(port, 'http://hello.mesh.internal/hello')
      return status === 200 && body
    })
    assert.equal(answer, 'hello from the mesh\n')
  })

  await test('nothing is overwritten: where one file is there, none is written', async (t) => {
    const folder = temporaryFolder(t)
    fs.mkdirSync(path.join(folder, 'resources'))
    fs.writeFileSync(path.join(folder, 'resources/hello.yaml'), 'mine')
    const { code, err } = await init(folder)
    assert.equal(code, 2)
    assert.match(err, /resources\/hello\.yaml already; nothing was written/)
    assert.deepEqual(listFiles(folder), ['hello.yaml'])
    assert.equal(fs.readFileSync(path.join(folder, 'resources/hello.yaml'), 'utf8'), 'mine')
  })

  await test('the example that is to be renamed has no mistake', async (t) => {
    const folder = temporaryFolder(t)
    await init(folder)
    const files = listFiles(`${folder}/resources`).map((name) => ({
      name: name.replace('.example', ''),
      text: fs.readFileSync(`${folder}/resources/${name}`, 'utf8'),
    }))
    const made = compileFolder(files)
    assert.ok(made.ok, made.ok ? '' : made.problems.map(formatProblem).join('\n'))
    assert.equal(files.length, 3)
  })
})
