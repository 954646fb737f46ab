/** A device that has joined tells its hub which services it has and what waits in its queues, and operators see it. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ReportDetails } from '../../../model/fleet/report-details.ts'
import { services } from '../../hub/relay/rig.ts'
import { testHub } from '../../hub/start-hub.ts'
import { device as client, MQTT, publish, subscribeAndLeave } from '../mqtt/devices.ts'
import { until } from '../site.ts'
import { device, joinAs, startDevice } from './device.ts'

const RELAY = 'dnsNames: [127.0.0.1]\nrelay: {listen: "127.0.0.1:0"}\nlimits: {maxReportsPerMinute: 100000}\n'
const ROUTES = 'mqtt: {routes: [{match: "a/#", direction: up, cluster: nowhere}]}\n'

test('services and MQTT queues of a device are known at its hub, and what becomes of them', async (t) => {
  const hub = await testHub(t, RELAY)
  hub.write('mesh.json', services(10))
  const d = device(t, { hub: { apiPort: hub.hub.relayPort! } })
  await joinAs('gw-1', d, hub)
  const yaml = fs.readFileSync(d.file, 'utf8')
  const often = 'trustBundle: true\n  reportMs: 100\n  reportRows: 8'
  fs.writeFileSync(d.file, `${yaml.replace('trustBundle: true', often)}${MQTT}${ROUTES}`)
  const agent = await startDevice(t, d)
  const { reports } = hub.hub.registry
  const read = async (): Promise<ReportDetails | undefined> => (await reports.latest('gw-1'))?.report.details
  const wait = (what: string, holds: (d: ReportDetails) => boolean): Promise<ReportDetails> =>
    until(what, async () => {
      const details = await read()
      return details && holds(details) ? details : undefined
    })

  const first = await wait('its services', ({ services: { rows } }) => rows.length === 8)
  assert.equal(first.services.more, 2)
  assert.ok(first.services.rows.every(({ endpoints, healthy }) => endpoints > 0 && healthy === endpoints))
  assert.match(agent.agent.metrics.text(), /mesh_control_report_left_out\{what="services"\} 2/)

  await subscribeAndLeave(agent)
  const sender = await client(t, agent, 'sender')
  for (let i = 0; i < 3; i++) assert.equal(await publish(sender, `m${i}`), 0)
  const { queues } = await wait(
    'what waits',
    ({ queues: { rows } }) => rows.every(({ messages }) => messages === 3) && rows.length === 2,
  )
  assert.deepEqual(
    queues.rows.map(({ kind, name, state }) => [kind, name, state === 'away' ? state : 'not reached']),
    [
      ['bridge', 'nowhere/gw-1/nowhere', 'not reached'],
      ['session', 'reader', 'away'],
    ],
  )
  assert.ok(queues.rows.every(({ bytes, sinceMs }) => bytes > 0 && sinceMs !== undefined))
  assert.deepEqual((await reports.all())[0]!.worst, { queue: 3, down: 0 })

  hub.write('mesh.json', services(7))
  const less = await wait('the services that are left', ({ services: { rows } }) => rows.length === 7)
  assert.equal(less.services.more, 0)
  // Each report is counted in the next one: that is no reason for it.
  const taken = (): string | undefined => /mesh_hub_reports_total \d+/.exec(hub.metrics.text())?.[0]
  await until('it says nothing any more', async () => {
    const before = taken()
    await sleep(500)
    return before === taken()
  })
})
