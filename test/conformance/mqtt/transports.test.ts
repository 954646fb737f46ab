/** Ways in and out with real programs: tinyproxy and mosquitto's WebSocket, haproxy with PROXY v2, MQTT.js on one port. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt'
import { findDebianProgram } from '../../../tools/debian.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { testCa } from '../../helpers/test-ca.ts'
import { run, start, temporaryFolder, until, type Finally } from '../programs.ts'
import { Agent, directoryMode, staticCluster, writeResources } from '../package/shipped.ts'

async function connected(t: Finally, url: string, options: IClientOptions = {}): Promise<MqttClient> {
  const client = await connectAsync(url, { protocolVersion: 5, reconnectPeriod: 0, ...options })
  client.on('error', () => {
    /* told by what does not come */
  })
  t.after(async () => {
    await client.endAsync(true)
  })
  return client
}
/** What one publishes the other gets. */
async function talk(from: MqttClient, to: MqttClient, topic: string): Promise<void> {
  const heard: string[] = []
  to.on('message', (name) => heard.push(name))
  await to.subscribeAsync(topic, { qos: 1 })
  await from.publishAsync(topic, 'x', { qos: 1 })
  await until(`${topic} has come`, () => heard.includes(topic), 20_000)
}
async function agentWith(t: Finally, yaml: string, clusters: readonly object[] = []): Promise<Agent> {
  const agent = await Agent.create(t, (home, adminPort) => directoryMode(home, adminPort, yaml))
  writeResources(agent.folder, clusters)
  await agent.start()
  return agent
}

test(
  'out: over WebSocket to mosquitto, through tinyproxy with a password, and directly where noProxy says so',
  { timeout: 180_000 },
  async (t) => {
    const [webPort, tcpPort, proxyPort, mqttPort] = (await freePorts(4)) as [number, number, number, number]
    const folder = temporaryFolder(t, 0o755)
    const file = (name: string, text: string): string => {
      fs.writeFileSync(path.join(folder, name), text, { mode: 0o644 })
      return path.join(folder, name)
    }
    const mosquitto = start(t, findDebianProgram('mosquitto'), [
      '-c',
      file(
        'mosquitto.conf',
        `user root\nallow_anonymous true\nlistener ${webPort} 127.0.0.1\nprotocol websockets\nlistener ${tcpPort} 127.0.0.1\n`,
      ),
    ])
    await mosquitto.listening(webPort)
    const proxy = start(t, findDebianProgram('tinyproxy'), [
      '-d',
      '-c',
      file(
        'tinyproxy.conf',
        `Port ${proxyPort}\nListen 127.0.0.1\nTimeout 600\nLogLevel Connect\nMaxClients 20\nBasicAuth edge s3cret\nConnectPort ${webPort}\n`,
      ),
    ])
    await proxy.listening(proxyPort)
    const credentials = file('credentials', 'edge:s3cret\n')
    const bridge = (noProxy: string): string => `listeners: [{name: mqtt, kind: mqtt, port: ${mqttPort}}]
mqtt:
  routes: [{match: line/#, direction: both, cluster: broker}]
  bridges: [{cluster: broker, websocket: {path: /mqtt}, httpProxy: {host: 127.0.0.1, port: ${proxyPort}, credentialsFile: ${credentials}, noProxy: [${noProxy}]}}]
`
    const agent = await agentWith(t, bridge(''), [staticCluster('broker', webPort)])
    const [cloud, device] = [
      await connected(t, `mqtt://127.0.0.1:${tcpPort}`),
      await connected(t, `mqtt://127.0.0.1:${mqttPort}`),
    ]
    await agent.process.until('the bridge is connected', async () =>
      (await agent.status())?.bridge[0]?.state === 'connected' ? true : undefined,
    )
    await talk(device, cloud, 'line/up')
    await talk(cloud, device, 'line/down')
    assert.match(proxy.log, new RegExp(`CONNECT 127\\.0\\.0\\.1:${webPort}`))
    assert.doesNotMatch(agent.process.log, /s3cret/)
    await agent.process.stop('SIGTERM')
    const before = proxy.log.length
    const direct = await agentWith(
      t,
      bridge('127.0.0.0/8').replaceAll(String(mqttPort), String((await freePorts(1))[0])),
      [staticCluster('broker', webPort)],
    )
    await direct.process.until('the bridge is connected', async () =>
      (await direct.status())?.bridge[0]?.state === 'connected' ? true : undefined,
    )
    assert.equal(proxy.log.slice(before).includes('CONNECT'), false)
  },
)

test(
  'in: haproxy in front with PROXY v1 and v2, whose word counts, and nobody past it',
  { timeout: 120_000 },
  async (t) => {
    const ports = await freePorts(5)
    const [mqttPort, one, two, frontOne, frontTwo] = ports as [number, number, number, number, number]
    const agent = await agentWith(
      t,
      `listeners: [{name: mqtt, kind: mqtt, port: ${mqttPort}, proxyProtocol: {trusted: [127.0.0.1]}}]\n`,
    )
    const config = path.join(temporaryFolder(t), 'haproxy.cfg')
    const pass = (from: number, to: number, how: string): string =>
      `listen from${from}\n  bind 127.0.0.1:${from}\n  server s 127.0.0.1:${to} ${how}\n`
    fs.writeFileSync(
      config,
      [
        'defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n',
        pass(frontOne, one, 'source 127.0.0.21'),
        pass(frontTwo, two, 'source 127.0.0.22'),
        pass(one, mqttPort, 'send-proxy source 127.0.0.1'),
        pass(two, mqttPort, 'send-proxy-v2 source 127.0.0.1'),
      ].join(''),
    )
    const haproxy = start(t, findDebianProgram('haproxy'), ['-db', '-f', config])
    await haproxy.listening(frontTwo)
    const [a, b] = [
      await connected(t, `mqtt://127.0.0.1:${frontOne}`),
      await connected(t, `mqtt://127.0.0.1:${frontTwo}`),
    ]
    await talk(a, b, 'a/b')
    // What is refused is told with who sent it.
    for (const port of [frontOne, frontTwo]) {
      const socket = net.connect(port, '127.0.0.1', () => socket.write('no MQTT at all'))
      socket.on('error', () => {
        /* it is refused */
      })
      t.after(() => {
        socket.destroy()
      })
    }
    await agent.process.until('the log names both clients', () =>
      agent.process.log.includes('127.0.0.21') && agent.process.log.includes('127.0.0.22') ? true : undefined,
    )
    const past = net.connect(mqttPort, '127.0.0.1', () =>
      past.write('\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00'),
    )
    const answers: (Buffer | string)[] = []
    past.on('data', (chunk) => answers.push(chunk))
    past.on('error', () => {
      /* it is reset */
    })
    await once(past, 'close')
    assert.deepEqual(answers, [])
  },
)

test(
  'out: to mosquitto behind haproxy, which demands a PROXY header: a bridge and clients of mode transparent',
  { timeout: 120_000 },
  async (t) => {
    const [brokerPort, front, bridged, proxied] = (await freePorts(4)) as [number, number, number, number]
    const folder = temporaryFolder(t, 0o755)
    fs.writeFileSync(
      path.join(folder, 'mosquitto.conf'),
      `user root\nallow_anonymous true\nlistener ${brokerPort} 127.0.0.1\n`,
    )
    const mosquitto = start(t, findDebianProgram('mosquitto'), ['-c', path.join(folder, 'mosquitto.conf')])
    await mosquitto.listening(brokerPort)
    fs.writeFileSync(
      path.join(folder, 'haproxy.cfg'),
      [
        'global\n  log stdout format raw local0\n',
        'defaults\n  mode tcp\n  log global\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n',
        `listen front\n  bind 127.0.0.1:${front} accept-proxy\n  server s 127.0.0.1:${brokerPort}\n`,
        '  log-format "from %ci:%cp to %fi:%fp"\n',
      ].join(''),
    )
    const haproxy = start(t, findDebianProgram('haproxy'), ['-db', '-f', path.join(folder, 'haproxy.cfg')])
    await haproxy.listening(front)
    const agent = await agentWith(
      t,
      `listeners:
- {name: own, kind: mqtt, port: ${bridged}}
- {name: proxied, kind: mqtt, port: ${proxied}, mode: transparent, cluster: broker, sendProxyProtocol: 2}
mqtt:
  routes: [{match: line/#, direction: both, cluster: broker}]
  bridges: [{cluster: broker, sendProxyProtocol: 1}]
`,
      [staticCluster('broker', front)],
    )
    await agent.process.until('the bridge is connected', async () =>
      (await agent.status())?.bridge[0]?.state === 'connected' ? true : undefined,
    )
    const far = await connected(t, `mqtt://127.0.0.1:${proxied}`)
    const device = await connected(t, `mqtt://127.0.0.1:${bridged}`)
    await talk(device, far, 'line/up')
    await talk(far, device, 'line/down')
    const { localPort } = far.stream as net.Socket
    await far.endAsync()
    await agent.process.stop('SIGTERM')
    await haproxy.until('haproxy has logged the client, as it came to the listener', () =>
      haproxy.log.includes(`from 127.0.0.1:${localPort} to 127.0.0.1:${proxied}`) ? true : undefined,
    )
    await haproxy.until('and the bridge, as itself', () =>
      new RegExp(`from 127\\.0\\.0\\.1:\\d+ to 127\\.0\\.0\\.1:${front}\\n`).test(haproxy.log) ? true : undefined,
    )
  },
)

test('out: to mosquitto with a pre-shared key, as mosquitto.conf has it', { timeout: 120_000 }, async (t) => {
  const [openPort, pskPort, mqttPort] = (await freePorts(3)) as [number, number, number]
  const folder = temporaryFolder(t, 0o755)
  const file = (name: string, text: string, mode = 0o644): string => {
    fs.writeFileSync(path.join(folder, name), text, { mode })
    return path.join(folder, name)
  }
  const key = '0123456789abcdef0123456789abcdef'
  const psk = file('psk', `site-7:${key}\n`)
  const conf = `user root\nper_listener_settings true\nlistener ${openPort} 127.0.0.1\nallow_anonymous true\nlistener ${pskPort} 127.0.0.1\npsk_hint plant\npsk_file ${psk}\nuse_identity_as_username true\n`
  const mosquitto = start(t, findDebianProgram('mosquitto'), ['-v', '-c', file('mosquitto.conf', conf)])
  await mosquitto.listening(openPort)
  const bridge = (name: string): string =>
    `listeners: [{name: mqtt, kind: mqtt, port: ${mqttPort}}]
mqtt:
  routes: [{match: line/#, direction: both, cluster: broker}]
  bridges: [{cluster: broker, reconnectMinMs: 100, psk: {identity: ${name}, keyFile: ${file('key', `${key}\n`, 0o600)}}}]
`
  const agent = await agentWith(t, bridge('site-7'), [staticCluster('broker', pskPort)])
  await agent.process.until('the bridge is connected', async () =>
    (await agent.status())?.bridge[0]?.state === 'connected' ? true : undefined,
  )
  const [cloud, device] = [
    await connected(t, `mqtt://127.0.0.1:${openPort}`),
    await connected(t, `mqtt://127.0.0.1:${mqttPort}`),
  ]
  await talk(device, cloud, 'line/up')
  await talk(cloud, device, 'line/down')
  assert.match(mosquitto.log, /u'site-7'/)
  assert.doesNotMatch(agent.process.log, new RegExp(key))
})

test('in: TCP, WebSocket, TLS and WSS on one port', { timeout: 120_000 }, async (t) => {
  const [port] = (await freePorts(1)) as [number]
  const server = testCa().issue('site', 'broker', { dnsNames: ['localhost'] })
  const folder = temporaryFolder(t)
  for (const [name, text] of [
    ['chain.pem', server.chainPem],
    ['key.pem', server.keyPem],
  ] as const)
    fs.writeFileSync(path.join(folder, name), text, { mode: 0o600 })
  await agentWith(
    t,
    `listeners: [{name: mqtt, kind: mqtt, port: ${port}, transport: auto, plainText: true, tls: {mode: server, chain: ${folder}/chain.pem, key: ${folder}/key.pem}}]\n`,
  )
  const tls = { rejectUnauthorized: false }
  const clients = [
    await connected(t, `mqtt://localhost:${port}`),
    await connected(t, `ws://localhost:${port}/mqtt`),
    await connected(t, `mqtts://localhost:${port}`, tls),
    await connected(t, `wss://localhost:${port}/mqtt`, tls),
  ]
  for (const [i, from] of clients.entries()) await talk(from, clients[(i + 1) % 4]!, `way/${i}`)
})

test('in: a Unix socket, which outlives a kill and goes with an orderly end', { timeout: 120_000 }, async (t) => {
  const folder = temporaryFolder(t)
  const socket = path.join(folder, 'mqtt.sock')
  const agent = await agentWith(t, `listeners: [{name: mqtt, kind: mqtt, unix: {path: ${socket}, mode: "0600"}}]\n`)
  const publish = async (text: string): Promise<void> => {
    const args = `--unix ${socket} -t a -q 1 -r -m ${text}`
    const { code, err } = await run(findDebianProgram('mosquittoClients'), args.split(' '))
    assert.equal(code, 0, err)
  }
  await publish('before')
  assert.equal(fs.statSync(socket).mode & 0o777, 0o600)
  await agent.process.stop('SIGKILL')
  assert.ok(fs.existsSync(socket), 'a killed process leaves it')
  await agent.start()
  await publish('after')
  await agent.process.stop('SIGTERM')
  assert.equal(fs.existsSync(socket), false)
})
