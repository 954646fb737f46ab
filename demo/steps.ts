/** The first six steps of the tour, in order. Each prints what it does and claims only what it has just observed. */
import fs from 'node:fs'
import path from 'node:path'
import type { MqttClient } from 'mqtt'
import { Ledger } from './mqtt-ledger.ts'
import { readCounter, measureFirstAnswerMs, sleep } from './processes.ts'
import { describeInboundListener, ORDERS, PLC } from './resources.ts'
import { type App, startDevice } from './services.ts'
import type { Site } from './site.ts'
import type { Tour } from './tour.ts'

const REQUESTS = 1_000
const SPOOLED = 10_000
/** CONNECT of MQTT 3.1.1, client id "probe", clean session. */
const MQTT_CONNECT = Buffer.from('101100044d5154540402003c000570726f6265', 'hex')

export async function enroll(site: Site, tour: Tour): Promise<void> {
  tour.step('Enrollment: a hub with its own CA, two nodes with a join token each')
  await site.startHub()
  for (const name of ['cloud', 'edge'] as const) {
    const status = await site.bringUp(name)
    tour.claim(
      status.certificate?.spiffeId === `spiffe://demo.mesh/ns/${name}/sa/gateway`,
      `${name} is ${status.certificate?.spiffeId}, certificate valid for ${Math.round((status.certificate?.expiresInSec ?? 0) / 3600)} h`,
    )
    tour.claim(
      !status.config.stale && status.config.rejected.length === 0,
      `${name} has its configuration over delta ADS: ${Object.entries(status.config.resources)
        .filter(([, n]) => n > 0)
        .map(([kind, n]) => `${n} ${kind}`)
        .join(', ')}`,
    )
  }
}

export async function showHttp(site: Site, tour: Tour, app: App): Promise<void> {
  tour.step(`HTTP: ${REQUESTS} requests from an app at edge to ${ORDERS}, mTLS between the nodes`)
  const started = performance.now()
  for (let i = 0; i < REQUESTS; i += 8) {
    // The link breaks a few connections before a byte of the request is on its way.
    if (i === 200 || i === 400 || i === 600) site.links.http.break('refuse', 'refuse')
    const replies = await Promise.all(
      Array.from({ length: Math.min(8, REQUESTS - i) }, (_, k) => app.call(ORDERS, `/orders/${i + k}`)),
    )
    tour.figures.httpRequests += replies.length
    tour.figures.httpFailed += replies.filter((r) => r.status !== 200).length
  }
  tour.claim(
    tour.figures.httpFailed === 0,
    `${tour.figures.httpRequests} requests, ${tour.figures.httpFailed} failed, in ${((performance.now() - started) / 1000).toFixed(2)} s`,
  )
  tour.claim(
    site.orders.seen.callers.has('spiffe://demo.mesh/ns/edge/sa/gateway'),
    `orders saw who called: ${[...site.orders.seen.callers].join(', ')}`,
  )
  tour.figures.retriesSafe = await readCounter(site.edge.admin, 'mesh_upstream_retries_total', 'result="sent"')
  tour.claim(
    tour.figures.retriesSafe > 0,
    `${tour.figures.retriesSafe} tries failed on the link and were repeated: nothing of them had arrived, so that was safe`,
  )

  const warm = await app.call(ORDERS, '/warm')
  site.links.http.swallowAnswers('on') // what is sent arrives; the connection breaks before the answer
  const post = await app.call(ORDERS, '/orders', {
    method: 'POST',
    headers: { 'x-order': 'A-1', 'content-type': 'text/plain' },
    body: 'one machine, please',
  })
  site.links.http.swallowAnswers('off')
  const times = site.orders.seen.posts.get('A-1') ?? 0
  tour.figures.retriesHeldBack = await readCounter(site.edge.admin, 'mesh_upstream_retries_total', 'result="held-back"')
  tour.claim(
    warm.status === 200 && post.status >= 500 && times <= 1 && tour.figures.retriesHeldBack >= 1,
    `a POST whose bytes may have arrived was answered ${post.status} (${post.error ?? '-'}) and not sent again: orders saw it ${times} time(s)`,
  )
}

export async function showMqtt(
  site: Site,
  tour: Tour,
  sensor: MqttClient,
  control: MqttClient,
  ledger: Ledger,
): Promise<string[]> {
  tour.step('MQTT: a device at edge, subscribers at cloud, a command back')
  const sent: string[] = []
  for (let i = 0; i < 100; i++) {
    sent.push(`m-${i}`)
    await sensor.publishAsync('telemetry/line1/temperature', `m-${i}`, { qos: i % 2 ? 2 : 1 })
  }
  await until(() => ledger.missing(sent) === 0)
  tour.claim(
    ledger.missing(sent) === 0,
    `100 messages (QoS 1 and 2) published at edge, ${ledger.delivered} delivered at cloud`,
  )
  const command = new Promise<string>((resolve) => {
    sensor.on('message', (topic, payload) => {
      if (topic === 'command/line1') resolve(payload.toString())
    })
  })
  await sensor.subscribeAsync('command/line1', { qos: 1 })
  await control.publishAsync('command/line1', 'slower', { qos: 1 })
  const got = await Promise.race([command, sleep(5_000).then(() => 'nothing')])
  tour.claim(got === 'slower', `a command published at cloud reached the device: "${got}"`)
  return sent
}

export async function showOffline(site: Site, tour: Tour, app: App, sensor: MqttClient, sent: string[]): Promise<void> {
  tour.step('The link is cut: hub stopped, the way to cloud dropped')
  await site.hub.kill('SIGTERM')
  site.cutLink()
  const local = await app.call(PLC, '/speed')
  tour.claim(local.status === 200, 'local HTTP goes on')
  const remote = await app.call(ORDERS, '/orders/1')
  tour.claim(
    remote.status >= 500,
    `what is behind the link is answered with a reason: ${remote.status} ${remote.error}`,
  )
  const started = performance.now()
  let acked = 0
  for (let i = 0; i < SPOOLED; i += 500) {
    const batch = Array.from({ length: 500 }, (_, k) => `s-${i + k}`)
    sent.push(...batch)
    await Promise.all(
      batch.map(async (key) => {
        await sensor.publishAsync('telemetry/line1/temperature', key, { qos: 1 })
        acked++
      }),
    )
  }
  tour.claim(
    acked === SPOOLED,
    `${acked} QoS 1 messages acknowledged into the spool in ${((performance.now() - started) / 1000).toFixed(2)} s, each after its fsync`,
  )
  tour.say('edge is killed with SIGKILL and started again, with nothing reachable')
  await site.edgeAgent.kill('SIGKILL')
  const exec = site.edgeAgent.start()
  const [httpMs, mqttMs] = await Promise.all([
    measureFirstAnswerMs(
      exec,
      site.edge.proxy,
      `GET http://${PLC}/speed HTTP/1.1\r\nHost: ${PLC}\r\nConnection: close\r\n\r\n`,
      (reply) => reply.toString('latin1').startsWith('HTTP/1.1 200'),
      20_000,
    ),
    measureFirstAnswerMs(exec, site.edge.mqtt, MQTT_CONNECT, (reply) => reply[0] === 0x20 && reply[3] === 0, 20_000),
  ])
  tour.figures.offlineStartHttpMs = Math.round(httpMs)
  tour.figures.offlineStartMqttMs = Math.round(mqttMs)
  tour.report(
    `from exec to the first HTTP answer ${tour.figures.offlineStartHttpMs} ms, to the first CONNACK ${tour.figures.offlineStartMqttMs} ms, with nothing reachable`,
  )
  const status = await site.status(site.edge)
  tour.claim((status?.spool.messages ?? 0) === SPOOLED, `${status?.spool.messages} messages wait in the spool`)
  for (const p of status?.problems ?? []) tour.say(`meshlet status says: ${p.code}: ${p.text}`)
}

export async function showReunion(site: Site, tour: Tour, ledger: Ledger, sent: readonly string[]): Promise<void> {
  tour.step('The link returns: the spool drains')
  site.hub.start()
  site.restoreLink()
  const started = performance.now()
  await until(() => ledger.missing(sent) === 0, 60_000)
  const { figures } = tour
  figures.mqttSent = sent.length
  figures.mqttDelivered = ledger.delivered
  figures.mqttLost = ledger.missing(sent)
  figures.mqttDuplicates = ledger.duplicates
  tour.claim(
    figures.mqttLost === 0,
    `sent ${figures.mqttSent}, delivered ${figures.mqttDelivered}, lost ${figures.mqttLost}, duplicates ${figures.mqttDuplicates}; the backlog took ${((performance.now() - started) / 1000).toFixed(2)} s with the reconnect`,
  )
  const spooled = ledger.order.filter((key) => key.startsWith('s-')).map((key) => Number(key.slice(2)))
  tour.claim(
    spooled.every((n, i) => i === 0 || n > spooled[i - 1]!),
    'in the order in which they were published',
  )
  await site.edgeAgent.until(
    'edge is connected again',
    async () => (await site.status(site.edge))?.control.link === 'connected',
    60_000,
  )
  tour.report('edge is connected to the hub again')
}

export async function showPolicy(site: Site, tour: Tour, app: App, control: MqttClient): Promise<void> {
  tour.step('A policy changes, and a broken resource is pushed')
  await site.cloudAgent.until(
    'cloud is connected again',
    async () => (await site.status(site.cloud))?.control.link === 'connected',
    60_000,
  )
  const file = path.join(site.folder, 'resources/cloud/policy.yaml')
  const before = await app.call(ORDERS, '/secret')
  const closed = { count: 0 }
  control.on('close', () => {
    closed.count++
  })
  const written = performance.now()
  fs.writeFileSync(file, describeInboundListener(site.resourcePorts, { deny: ['/secret'] }))
  let denied = await app.call(ORDERS, '/secret')
  while (denied.status !== 403 && performance.now() - written < 10_000) {
    await sleep(5)
    denied = await app.call(ORDERS, '/secret')
  }
  tour.figures.denyInForceMs = Math.round(performance.now() - written)
  tour.claim(
    before.status === 200 && denied.status === 403 && tour.figures.denyInForceMs <= 1_000,
    `/secret: ${before.status} before, ${denied.status} ${tour.figures.denyInForceMs} ms after the file was written`,
  )
  tour.claim(
    (await app.call(ORDERS, '/orders/7')).status === 200 && closed.count === 0,
    'what the policy does not concern goes on; the MQTT connections were not touched',
  )

  const broken = describeInboundListener(site.resourcePorts, { deny: ['/secret'] }).replace(
    'stat_prefix: inbound',
    'stat_prefix: inbound\n        stream_idle_timeout: soon',
  )
  fs.writeFileSync(file, broken)
  const report = await site.hub
    .until(
      'the hub refuses the broken file',
      async () => site.hub.log.split('\n').find((l) => l.includes('stream_idle_timeout')),
      5_000,
    )
    .catch(() => undefined)
  const after = [await app.call(ORDERS, '/orders/8'), await app.call(ORDERS, '/secret')]
  tour.figures.brokenPushRefused = report !== undefined && after[0]!.status === 200 && after[1]!.status === 403
  tour.claim(
    tour.figures.brokenPushRefused,
    `a broken resource was refused, the old configuration serves on:\n     ${report ?? 'no word of it in the log of the hub'}`,
  )
  fs.writeFileSync(file, describeInboundListener(site.resourcePorts, { deny: ['/secret'] }))
}

/** A session at cloud that outlives its connection, and one at edge. */
export async function showDevices(site: Site): Promise<{ sensor: MqttClient; control: MqttClient; ledger: Ledger }> {
  const control = await startDevice(site.cloud.mqtt, 'control-room', { clean: false })
  const ledger = new Ledger(control, 'telemetry/')
  await control.subscribeAsync('telemetry/#', { qos: 2 })
  return { sensor: await startDevice(site.edge.mqtt, 'line1'), control, ledger }
}

async function until(holds: () => boolean, withinMs = 10_000): Promise<void> {
  const by = performance.now() + withinMs
  while (!holds() && performance.now() < by) await sleep(10)
}
