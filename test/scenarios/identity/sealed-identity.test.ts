/** Key and certificate encrypted on disk, under a key that systemd would hand over. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import { testHub } from '../../hub/start-hub.ts'
import { meshlet, says } from '../cli.ts'
import { controlYaml, TestAgent } from '../site.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

test('an identity that is sealed: it starts offline with the key, is sealed when the key comes later, and another key neither starts nor destroys', async (t) => {
  const hub = await testHub(t)
  const folder = temporaryFolder(t)
  fs.writeFileSync(`${folder}/roots.pem`, hub.hub.rootsPem)
  fs.writeFileSync(
    `${folder}/edge.token`,
    (await hub.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: '*' })).token,
  )
  fs.writeFileSync(`${folder}/key`, randomBytes(32).toString('base64'), { mode: 0o600 })
  const yaml = `node: {name: edge, namespace: edge, serviceAccount: gateway}\n${controlYaml(folder, 'edge', hub.hub.port)}`
  const agent = new TestAgent(t, yaml)
  const file = `${agent.folder}/state/identity/identity.json`
  await agent.start()
  await agent.connected()
  const { serial } = agent.status().certificate!
  await agent.stop()
  assert.match(fs.readFileSync(file, 'utf8'), /PRIVATE KEY/)

  agent.yaml = `${yaml}identity: {encryptionKey: ${folder}/key}\n`
  fs.rmSync(`${folder}/edge.token`)
  await agent.start()
  await agent.connected()
  assert.equal(agent.status().certificate!.serial, serial, 'the same, now sealed')
  await agent.stop()
  const sealed = fs.readFileSync(file)
  assert.doesNotMatch(sealed.toString('latin1'), /PRIVATE|CERTIFICATE|keyPem/)
  assert.equal(fs.statSync(file).mode & 0o777, 0o600)
  await agent.start()
  assert.equal(agent.status().certificate!.serial, serial)
  await agent.stop()

  for (const [key, code] of [
    [randomBytes(32), 'MESH_STATE_LOCKED'],
    [Buffer.from('hunter2'), 'MESH_CONFIG_INVALID'],
  ] as const) {
    fs.writeFileSync(`${folder}/key`, key)
    await assert.rejects(agent.start(), { code })
  }
  agent.yaml = yaml
  await assert.rejects(agent.start(), { code: 'MESH_STATE_LOCKED' })
  assert.deepEqual(fs.readFileSync(file), sealed)
  assert.deepEqual(
    fs.readdirSync(`${agent.folder}/state/identity`).filter((n) => n.includes('damaged')),
    [],
  )
  fs.writeFileSync(`${folder}/agent.yaml`, `${yaml}state: ${agent.folder}/state\nadmin: {port: 0}\n`)
  says(await meshlet(['run', '--config', `${folder}/agent.yaml`]), {
    exit: 1,
    code: 'MESH_STATE_LOCKED',
    what: /identity\.json is sealed and identity\.encryptionKey is not set/,
    remedy: /the file is left as it is/,
  })
})
