/** `control.address: wss://…` is all that an agent needs: certificate and configuration come over the relay. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { services } from '../../hub/relay/rig.ts'
import { testHub } from '../../hub/start-hub.ts'
import { controlYaml, TestAgent, until } from '../site.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

test('an agent joins over the relay, serves, and follows changes; without its hub it serves on', async (t) => {
  const hub = await testHub(t, 'relay: {listen: "127.0.0.1:0"}\n')
  hub.write('mesh.json', services(10))
  const folder = temporaryFolder(t)
  fs.writeFileSync(`${folder}/roots.pem`, hub.hub.rootsPem)
  fs.writeFileSync(
    `${folder}/edge.token`,
    (await hub.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: 'edge' })).token,
  )
  const control = controlYaml(folder, 'edge', hub.hub.port).replace(
    `127.0.0.1:${hub.hub.port}`,
    `wss://127.0.0.1:${hub.hub.relayPort}`,
  )
  const agent = new TestAgent(t, `node: {name: edge, namespace: edge, serviceAccount: gateway}\n${control}`)
  await agent.start()
  await until('clusters are there', () => agent.status().config.resources['clusters'] === 10)
  assert.equal(agent.status().control.link, 'connected')
  hub.write('more.json', services(12).replaceAll('svc-', 'more-').replace('http_proxy', 'other'))
  await until('more clusters are there', () => agent.status().config.resources['clusters'] === 22)
  await hub.hub[Symbol.asyncDispose]()
  await until('the hub is missed', () => agent.status().control.link !== 'connected')
  assert.equal(agent.status().config.resources['clusters'], 22)
})
