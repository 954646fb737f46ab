/**
 * paho-mqtt, Python's MQTT client, with the shipped broker: the cases of Eclipse Paho's interoperability suites, 27 of
 * MQTT 5.0 and 10 of 3.1.1 (cases.py).
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'
import { freePorts } from '../../../../tools/free-ports.ts'
import { Agent, directoryMode, writeResources } from '../../package/shipped.ts'
import { pahoPython } from '../../peers.ts'
import type { Finally } from '../../programs.ts'

const CASES = path.join(import.meta.dirname, 'cases.py')
const MQTT = `mqtt:
  wideSubscriptions: filter
  limits: {maxKeepAliveSec: 60, receiveMaximum: 20}
  rules:
    - {action: subscribe, topics: [test/nosubscribe], effect: deny}
    - {action: subscribe, topics: ['#', '$share/+/#'], effect: allow}
`
type Said = { readonly case: string; readonly error: string | null }

async function broker(t: Finally): Promise<{ agent: Agent; port: number }> {
  const [port] = (await freePorts(1)) as [number]
  const agent = await Agent.create(t, (home, adminPort) =>
    directoryMode(home, adminPort, `listeners: [{name: mqtt, kind: mqtt, port: ${port}}]\n${MQTT}`),
  )
  writeResources(agent.folder, [])
  await agent.start()
  return { agent, port }
}

for (const [version, name, count] of [
  ['5', '5.0', 27],
  ['4', '3.1.1', 10],
] as const)
  test(`paho-mqtt in MQTT ${name}: ${count} cases`, { timeout: 300_000 }, async (t) => {
    const { agent, port } = await broker(t)
    const { stdout } = await promisify(execFile)(pahoPython(), [CASES, String(port), version])
    const said = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Said)
    assert.equal(said.length, count)
    for (const one of said) await t.test(one.case.replaceAll('_', ' '), () => assert.equal(one.error, null))
    assert.deepEqual((await agent.status())?.problems, [])
  })
