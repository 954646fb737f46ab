/**
 * Whose an MQTT session is, with certificates, sockets and the spool's file: the queue of one device for nobody else,
 * over a restart.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { connect, type IClientOptions, type MqttClient } from 'mqtt'
import type { Identity } from '../../../model/identity.ts'
import { testCa, type TestCa } from '../../helpers/test-ca.ts'
import { TestAgent, until } from '../site.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

type Entry = {
  readonly client: MqttClient
  readonly got: string[]
  readonly reason: number
  readonly sessionPresent: boolean
}

/** A broker with a port for certificates and a plain one, and clients of one client id. */
async function startBroker(t: TestContext): Promise<{
  readonly ca: TestCa
  readonly agent: TestAgent
  enter(who: Identity | undefined, version?: 4 | 5): Promise<Entry>
}> {
  const ca = testCa('demo.mesh')
  const folder = temporaryFolder(t)
  const server = ca.issue('edge', 'gateway')
  for (const [name, pem] of Object.entries({
    'key.pem': server.keyPem,
    'cert-chain.pem': server.chainPem,
    'root-cert.pem': ca.rootsPem,
  }))
    fs.writeFileSync(`${folder}/${name}`, pem)
  const agent = new TestAgent(
    t,
    `directory: ${temporaryFolder(t)}\nidentity: {folder: ${folder}}\nlisteners: [{name: mqtts, kind: mqtt, port: 0, tls: {mode: mutual}}, {name: plain, kind: mqtt, port: 0}]
mqtt:
  rules:
  - {action: subscribe, topics: [secret/#], principals: ["spiffe://demo.mesh/ns/edge/sa/pump"], effect: allow}
  - {action: subscribe, topics: [open/#], effect: allow}
`,
  )
  await agent.start()
  const enter = (who: Identity | undefined, version: 4 | 5 = 5): Promise<Entry> => {
    const tls = who && {
      protocol: 'mqtts' as const,
      key: who.keyPem,
      cert: who.chainPem,
      ca: ca.rootsPem,
      checkServerIdentity: () => undefined,
    }
    const options: IClientOptions = {
      host: '127.0.0.1',
      port: agent.port(who ? 'mqtts' : 'plain'),
      clientId: 'pump-1',
      clean: false,
      protocolVersion: version,
      reconnectPeriod: 0,
      ...(version === 5 && { properties: { sessionExpiryInterval: 600 } }),
      ...tls,
    }
    const client = connect(options)
    const got: string[] = []
    client.on('message', (topic, payload) => {
      got.push(`${topic} ${payload.toString()}`)
    })
    t.after(() => {
      client.end(true)
    })
    return new Promise((resolve) => {
      client.once('connect', ({ sessionPresent }) => resolve({ client, got, reason: 0, sessionPresent }))
      client.on('error', (err) =>
        resolve({ client, got, reason: (err as { code?: number }).code ?? -1, sessionPresent: false }),
      )
    })
  }
  return { ca, agent, enter }
}

test("a session over mTLS is nobody else's: not another identity's, not a plain listener's, also after a restart, and its renewed certificate is the same owner", async (t) => {
  const { ca, agent, enter } = await startBroker(t)
  const pump = (): Identity => ca.issue('edge', 'pump')
  const first = await enter(pump())
  await first.client.subscribeAsync('secret/#', { qos: 1 })
  assert.equal((await enter(ca.issue('edge', 'other'))).reason, 0x87, 'while it is connected')
  assert.equal(first.client.connected, true)
  await first.client.endAsync()

  const sender = connect({ host: '127.0.0.1', port: agent.port('plain'), clientId: 'sender', reconnectPeriod: 0 })
  t.after(() => {
    sender.end(true)
  })
  await sender.publishAsync('secret/a', '1', { qos: 1 })
  await sender.endAsync(true)
  assert.equal(agent.status().spool.messages, 1)
  for (const restarts of [false, true]) {
    if (restarts) {
      await agent.stop()
      await agent.start()
    }
    const thieves = [await enter(ca.issue('edge', 'other')), await enter(undefined), await enter(undefined, 4)]
    assert.deepEqual(
      thieves.map(({ reason, got }) => [reason, got.length]),
      [
        [0x87, 0],
        [0x87, 0],
        [5, 0],
      ],
    )
    assert.equal(agent.status().spool.messages, 1, 'and the queue is as it was')
  }
  const back = await enter(pump())
  assert.equal(back.sessionPresent, true)
  await until('what waited has come', () => back.got.length === 1)
  assert.deepEqual(back.got, ['secret/a 1'])
})
