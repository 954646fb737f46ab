/** Roots exchanged by the control plane: who is verified by them gets in from the next handshake on, and out again. */
import { test } from 'node:test'
import fs from 'node:fs'
import assert from 'node:assert/strict'
import { connect, type IClientOptions } from 'mqtt'
import type { Identity } from '../../../model/identity.ts'
import { testCa } from '../../helpers/test-ca.ts'
import { TestAgent, until } from '../site.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

test('a root that is sent lets its workloads in, also after a restart; one that is sent no more shuts them out', async (t) => {
  const [own, other] = [testCa('demo.mesh'), testCa('demo.mesh')]
  const [resources, folder] = [temporaryFolder(t), temporaryFolder(t)]
  const server = own.issue('edge', 'gateway')
  for (const [name, pem] of Object.entries({
    'key.pem': server.keyPem,
    'cert-chain.pem': server.chainPem,
    'root-cert.pem': own.rootsPem,
  }))
    fs.writeFileSync(`${folder}/${name}`, pem)
  const send = (...roots: string[]): void => {
    fs.writeFileSync(
      `${resources}/roots.json`,
      JSON.stringify({
        resources:
          roots.length === 0
            ? []
            : [{ '@type': 'type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig', ca_certificates_pem: roots }],
      }),
    )
  }
  send()
  const agent = new TestAgent(
    t,
    `directory: ${resources}\nidentity: {folder: ${folder}}\nlisteners: [{name: mqtts, kind: mqtt, port: 0, tls: {mode: mutual}}]\n`,
  )
  await agent.start()
  const client = (ca: typeof own): Identity => ca.issue('edge', 'sensor')
  const enters = ({ keyPem, chainPem }: Identity): Promise<boolean> => {
    const options: IClientOptions & { checkServerIdentity: () => undefined } = {
      protocol: 'mqtts',
      host: '127.0.0.1',
      port: agent.port('mqtts'),
      key: keyPem,
      cert: chainPem,
      ca: own.rootsPem,
      reconnectPeriod: 0,
      checkServerIdentity: () => undefined,
    }
    const mqtt = connect(options)
    t.after(() => {
      mqtt.end(true)
    })
    return new Promise((resolve) => {
      mqtt.once('connect', () => resolve(true))
      mqtt.on('error', () => resolve(false))
      mqtt.once('close', () => resolve(false))
    })
  }
  assert.deepEqual([await enters(client(own)), await enters(client(other))], [true, false])
  send(own.rootsPem, other.rootsPem)
  await until('the other root counts', () => enters(client(other)))
  assert.equal(await enters(client(own)), true)
  await agent.stop()
  await agent.start()
  assert.equal(await enters(client(other)), true)
  send(own.rootsPem)
  await until('it does not any more', async () => !(await enters(client(other))))
  assert.equal(await enters(client(own)), true)
})
