/**
 * Certificate, token and clock that are wrong: the agent starts all the same, serves what needs no identity, says what
 * is wrong, and recovers by itself.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import tls from 'node:tls'
import { systemClock } from '../../../core/os/clock.ts'
import { systemDisk, type Disk } from '../../../core/os/disk.ts'
import { pauseMs } from '../../../core/os/until-it-works.ts'
import { formatStatus } from '../../../agent/admin/status-text.ts'
import { testCa, type IssueOptions } from '../../helpers/test-ca.ts'
import { testHub } from '../../hub/start-hub.ts'
import { nothingIsWrong, problem } from '../cli.ts'
import { device, MQTT, publish, readAll, subscribeAndLeave } from '../mqtt/devices.ts'
import { controlYaml, TestAgent, until, type Finally } from '../site.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

const DAY_SEC = 86_400

function storedIdentity(agent: TestAgent, options: IssueOptions): void {
  const { keyPem, chainPem, rootsPem } = testCa('demo.mesh').issue('edge', 'gateway', options)
  fs.mkdirSync(`${agent.folder}/state/identity`, { recursive: true })
  fs.writeFileSync(`${agent.folder}/state/identity/identity.json`, JSON.stringify({ keyPem, chainPem, rootsPem }))
}

/** An agent that knows its hub and has no token yet, with a broker for clients in plain text. */
async function tokenless(t: Finally): Promise<{
  agent: TestAgent
  tokenFile: string
  hubPort: number
  token: string
  tokenOf(serviceAccount: string): Promise<string>
}> {
  const hub = await testHub(t)
  const folder = temporaryFolder(t)
  fs.writeFileSync(`${folder}/roots.pem`, hub.hub.rootsPem)
  const agent = new TestAgent(
    t,
    `node: {name: edge, namespace: edge, serviceAccount: gateway}\n${controlYaml(folder, 'edge', hub.hub.port)}${MQTT}`,
  )
  // The shortest waits between tries that chance may give.
  agent.over = { random: { float: () => Math.random() / 50 } }
  const tokenOf = async (serviceAccount: string): Promise<string> =>
    (await hub.hub.createToken({ namespace: 'edge', serviceAccount, nodes: '*' })).token
  return { agent, tokenFile: `${folder}/edge.token`, hubPort: hub.hub.port, token: await tokenOf('gateway'), tokenOf }
}

test('an expired certificate on disk: the agent starts, serves plain text, says so, and gets a new one with a token that is put there', async (t) => {
  const { agent, tokenFile, token } = await tokenless(t)
  storedIdentity(agent, { notBeforeMs: Date.now() - 2 * DAY_SEC * 1_000, ttlSec: DAY_SEC })
  await agent.start()
  const { text, remedy } = await problem(agent, 'MESH_IDENTITY_EXPIRED')
  assert.match(text, /^the certificate expired at 20\d\d-/)
  assert.match(remedy, /join with a new token/)
  assert.match(
    formatStatus(agent.status()),
    /certificate {3}spiffe:\/\/demo\.mesh\/ns\/edge\/sa\/gateway, expired 24 h ago/,
  )
  const client = await device(t, agent, 'plain')
  assert.equal(await publish(client, 'hello'), 0)
  await until('the try without a token is reported', async () =>
    /there is no join token/.test((await problem(agent, 'MESH_IDENTITY_EXPIRED')).text),
  )

  fs.writeFileSync(tokenFile, token)
  await until('a new certificate', () => (agent.status().certificate?.expiresInSec ?? 0) > 0)
  await agent.connected()
  await nothingIsWrong(agent)
  assert.equal(client.connected, true, 'who was connected in plain text has not been touched')
})

test('an expired certificate in a folder that somebody else keeps: the agent starts, says so, and takes the new one', async (t) => {
  const folder = temporaryFolder(t)
  const ca = testCa('demo.mesh')
  const put = (options: IssueOptions): void => {
    const { keyPem, chainPem, rootsPem } = ca.issue('edge', 'gateway', options)
    for (const [name, pem] of Object.entries({
      'key.pem': keyPem,
      'cert-chain.pem': chainPem,
      'root-cert.pem': rootsPem,
    }))
      fs.writeFileSync(`${folder}/${name}`, pem)
  }
  put({ notBeforeMs: Date.now() - 2 * DAY_SEC * 1_000, ttlSec: DAY_SEC })
  const agent = new TestAgent(t, `directory: ${temporaryFolder(t)}\nidentity: {folder: ${folder}}\n${MQTT}`)
  // The folder is looked at every five seconds; here every five milliseconds.
  agent.over = { clock: { ...systemClock, after: (ms, fire) => systemClock.after(ms === 5_000 ? 5 : ms, fire) } }
  await agent.start()
  assert.match((await problem(agent, 'MESH_IDENTITY_EXPIRED')).remedy, /renew the files of `identity\.folder`/)
  put({})
  await until('a new certificate', () => (agent.status().certificate?.expiresInSec ?? 0) > 0)
  await nothingIsWrong(agent)
})

test('a folder without an identity: the agent starts, what needs none serves, what needs one refuses, and the files are taken when they come', async (t) => {
  const folder = `${temporaryFolder(t)}/not-yet`
  const { keyPem, chainPem, rootsPem } = testCa('demo.mesh').issue('edge', 'gateway', {})
  const agent = new TestAgent(
    t,
    `directory: ${temporaryFolder(t)}\nidentity: {folder: ${folder}}\nlisteners:\n- {name: mqtt, kind: mqtt, port: 0}\n- {name: mesh, kind: mqtt, port: 0, tls: {mode: mutual}}\n`,
  )
  agent.over = { clock: { ...systemClock, after: (ms, fire) => systemClock.after(ms === 5_000 ? 5 : ms, fire) } }
  await agent.start()
  assert.match(
    (await problem(agent, 'MESH_CONFIG_INVALID')).text,
    /^identity\.folder: there is no file .*\/not-yet\/cert-chain\.pem$/,
  )
  assert.deepEqual([agent.status().state, agent.status().waitingFor], ['starting', ['a certificate']])
  assert.equal(await publish(await device(t, agent, 'plain'), 'hello'), 0)
  const handshake = (): Promise<string> =>
    new Promise((resolve) => {
      const socket = tls.connect({
        host: '127.0.0.1',
        port: agent.port('mesh'),
        cert: chainPem,
        key: keyPem,
        rejectUnauthorized: false,
      })
      socket
        .on('secureConnect', () => {
          resolve('secure')
          socket.destroy()
        })
        .on('error', () => {
          resolve('refused')
        })
        .on('close', () => {
          resolve('refused')
        })
    })
  assert.equal(await handshake(), 'refused')
  fs.mkdirSync(folder)
  for (const [name, pem] of Object.entries({
    'key.pem': keyPem,
    'cert-chain.pem': chainPem,
    'root-cert.pem': rootsPem,
  }))
    fs.writeFileSync(`${folder}/${name}`, pem)
  await until('the identity is there', () => agent.status().state === 'ready')
  assert.equal(await handshake(), 'secure')
  await nothingIsWrong(agent)
  assert.ok(agent.lines.filter((line) => line['evt'] === 'identity.folder').length <= 4, 'the same thing is told once')
})

test('a listener whose TLS files are missing: told with a remedy, the others serve, and it opens when they come', async (t) => {
  const folder = temporaryFolder(t)
  const { keyPem, chainPem } = testCa('demo.mesh').issue('edge', 'gateway', { dnsNames: ['localhost'] })
  const agent = new TestAgent(
    t,
    `directory: ${temporaryFolder(t)}\nlisteners:\n- {name: mqtt, kind: mqtt, port: 0}\n- {name: secure, kind: mqtt, port: 0, tls: {mode: server, chain: ${folder}/chain.pem, key: ${folder}/key.pem}}\n`,
  )
  // Tries of a port are so many milliseconds apart; here five.
  const pauses = [1, 2, 3, 4, 5, 6].map(pauseMs)
  agent.over = { clock: { ...systemClock, after: (ms, fire) => systemClock.after(pauses.includes(ms) ? 5 : ms, fire) } }
  await agent.start()
  const { text, remedy } = await problem(agent, 'MESH_LISTENER_TLS')
  assert.equal(text, `listeners.secure.tls: there is no file ${folder}/chain.pem`)
  assert.match(remedy, /looked at again by themselves/)
  assert.deepEqual(
    agent.status().listeners.map((l) => `${l.name} ${l.state}`),
    ['mqtt listening', 'secure failed'],
  )
  assert.equal(await publish(await device(t, agent, 'plain'), 'hello'), 0)
  fs.writeFileSync(`${folder}/chain.pem`, chainPem)
  await until(
    'the other file is asked for',
    async () =>
      (await problem(agent, 'MESH_LISTENER_TLS')).text === `listeners.secure.tls: there is no file ${folder}/key.pem`,
  )
  fs.writeFileSync(`${folder}/key.pem`, keyPem)
  await until('it is open', () => agent.status().listeners.every((l) => l.state === 'listening'))
  await nothingIsWrong(agent)
  const socket = tls.connect({ host: '127.0.0.1', port: agent.port('secure'), rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  assert.equal(socket.getPeerX509Certificate()?.toString(), new X509Certificate(chainPem).toString())
  socket.destroy()
})

test('a wrong token: the agent starts, serves, says who refused it, and enrolls once the right one is in the file', async (t) => {
  const { agent, tokenFile, hubPort, token } = await tokenless(t)
  fs.writeFileSync(tokenFile, 'nonsense')
  await agent.start()
  assert.equal(await publish(await device(t, agent, 'plain'), 'hello'), 0)
  await until('the refusal is in status', () => agent.problems().includes('MESH_CONTROL_UNAUTHENTICATED'))
  const { text, remedy } = await problem(agent, 'MESH_CONTROL_UNAUTHENTICATED')
  assert.match(text, new RegExp(`^127\\.0\\.0\\.1:${hubPort} does not accept who we are for .*is not one of this hub`))
  assert.match(remedy, /a new token into the file of control\.token/)
  assert.equal(agent.status().state, 'starting')
  assert.match((await agent.ask('/ready')).body, /waiting for a certificate, a configuration/)
  assert.equal(
    JSON.stringify([agent.lines, agent.status()]).includes('nonsense'),
    false,
    'the token is nowhere to be read',
  )
  fs.writeFileSync(tokenFile, token)
  await agent.connected()
  await nothingIsWrong(agent)
})

test('a token of another workload: status says so with one instruction, and the right token in the file is enough, without a restart', async (t) => {
  const { agent, tokenFile, token, tokenOf } = await tokenless(t)
  fs.writeFileSync(tokenFile, await tokenOf('somebody'))
  // What is looked at every minute is here every 60 ms.
  agent.over = {
    ...agent.over,
    clock: { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 1_000, signal) },
  }
  await agent.start()
  await until('a certificate', () => agent.status().certificate?.spiffeId === 'spiffe://demo.mesh/ns/edge/sa/somebody')
  const { text, remedy } = await problem(agent, 'MESH_CERTIFICATE_OTHER')
  assert.equal(
    text,
    'the certificate is of spiffe://demo.mesh/ns/edge/sa/somebody, and agent.yaml says ns/edge/sa/gateway',
  )
  assert.match(remedy, /token for the workload of agent\.yaml into the file of control\.token/)
  const before = agent.lines.filter((l) => l['evt'] === 'identity.new').length
  await new Promise((resolve) => {
    setTimeout(resolve, 200)
  })
  assert.equal(
    agent.lines.filter((l) => l['evt'] === 'identity.new').length,
    before,
    'the same token is not tried again and again',
  )
  fs.writeFileSync(tokenFile, token)
  await until(
    'the right certificate',
    () => agent.status().certificate?.spiffeId === 'spiffe://demo.mesh/ns/edge/sa/gateway',
  )
  await agent.connected()
  await nothingIsWrong(agent)
})

test('a clock in 1970: no crash, no storm of requests, MQTT works, status says so; when it is set nothing that was kept seems half a century old', async (t) => {
  const { agent, tokenFile, token } = await tokenless(t)
  let offMs = -Date.now()
  agent.over = { clock: { ...systemClock, wallMs: () => Date.now() + offMs } }
  agent.builtAtMs = Date.now() - DAY_SEC * 1_000
  storedIdentity(agent, {})
  fs.writeFileSync(tokenFile, token)
  await agent.start()
  const { text, remedy } = await problem(agent, 'MESH_CLOCK_WRONG')
  assert.match(text, /^the clock shows 1970-01-01T00:00:/)
  assert.match(remedy, /Set the clock/)
  await subscribeAndLeave(agent)
  const client = await device(t, agent, 'plain')
  for (const i of [1, 2]) assert.equal(await publish(client, `m-${i}`), 0)
  await client.publishAsync('a/b', 'm-3', { qos: 1, properties: { messageExpiryInterval: 60 } })
  assert.ok(
    agent.lines.filter((l) => l['evt'] === 'identity.request-failed' || l['evt'] === 'identity.new').length <= 1,
  )

  // From 1970 to today, as NTP does it.
  offMs = 0
  assert.equal(await publish(client, 'm-4'), 0)
  assert.equal(agent.problems().includes('MESH_CLOCK_WRONG'), false)
  await agent.stop()
  await agent.start()
  assert.deepEqual(await readAll(t, agent), ['m-1', 'm-2', 'm-3', 'm-4'])
})

test('a clock before the first day of the certificate is wrong also where nobody knows when this program was built', async (t) => {
  const { agent } = await tokenless(t)
  agent.over = { clock: { ...systemClock, wallMs: () => Date.now() - 30 * DAY_SEC * 1_000 } }
  storedIdentity(agent, {})
  await agent.start()
  assert.match(
    (await problem(agent, 'MESH_CLOCK_WRONG')).text,
    /^the clock shows 20.*, a time before the certificate's first day, 20/,
  )
})

test('a clock in 1970 is said also where there is no certificate that it could spoil', async (t) => {
  const agent = new TestAgent(t, `directory: ${temporaryFolder(t)}\n${MQTT}`)
  agent.over = { clock: { ...systemClock, wallMs: () => 60_000 } }
  agent.builtAtMs = Date.now()
  await agent.start()
  assert.match((await problem(agent, 'MESH_CLOCK_WRONG')).text, /^the clock shows 1970-01-01T00:01:00/)
})

test('an identity that may not be read ends the start, and is neither replaced nor set aside', async (t) => {
  const { agent } = await tokenless(t)
  storedIdentity(agent, {})
  const file = `${agent.folder}/state/identity/identity.json`
  const denied: Disk = {
    ...systemDisk,
    read: (name) => {
      if (name === file) throw Object.assign(new Error(`EACCES: permission denied, open '${name}'`), { code: 'EACCES' })
      return systemDisk.read(name)
    },
  }
  agent.over = { disk: denied }
  await assert.rejects(
    agent.start(),
    (err: { code?: string; message: string }) =>
      err.code === 'MESH_STATE_UNUSABLE' && err.message === `${file} cannot be read`,
  )
  assert.deepEqual(fs.readdirSync(path.dirname(file)), ['identity.json'])
})
