/** What an operator is told where a device does not do what was asked: the remedy is one for the operator. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CATALOGUE, formatSentence, type MeshError } from '../../../core/errors.ts'
import { OpenRegistry } from '../../../hub/registry/registry.ts'
import { openSqlite } from '../../../hub/registry/sqlite.ts'
import type { DeviceRow } from '../../../hub/registry/rows.ts'
import { askDevice } from '../../../hub/reports/ask-device.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

const request = { command: 'reload', lines: 1, operator: 'operator:ada' } as const

/** @param answer of the device; undefined: there is none */
async function refuse(t: Finally, device: Partial<DeviceRow> | undefined, answer?: string): Promise<string> {
  const clock = new SimClock()
  const registry = new OpenRegistry(openSqlite(':memory:'))
  t.after(() => registry[Symbol.asyncDispose]())
  const known = { spiffeUri: 'spiffe://x/ns/edge/sa/gateway', connectedMs: 1, ...device } as DeviceRow
  t.mock.method(registry, 'device', async () => (device ? known : undefined))
  t.mock.method(registry.deviceCommands, 'outcome', async () =>
    answer === undefined ? { state: 'asked', answer: '' } : { state: 'failed', answer },
  )
  const asked = askDevice(registry, { device: 'gw-1', request, clock }).then(
    () => assert.fail('it was done'),
    (thrown: MeshError) => formatSentence(thrown),
  )
  await clock.advance(60_000)
  return await asked
}
type Finally = Parameters<NonNullable<Parameters<typeof test>[0]>>[0]

test('who asks is told what to do, by what has happened', async (t) => {
  assert.match(
    await refuse(t, undefined),
    /^MESH_CONFIG_INVALID: "gw-1" is no device that is known; meshlet-hub devices/,
  )
  assert.match(await refuse(t, { connectedMs: null }), /^MESH_COMMAND_AWAY: "gw-1" is not connected\. Ask again when/)
  assert.match(await refuse(t, {}), /^MESH_COMMAND_AWAY: no hub had an answer of gw-1 within 30 s.* Ask again when/)
  assert.match(
    await refuse(t, {}, "MESH_CONTROL_FORBIDDEN\ncontrol.commands of this device's agent.yaml does not permit reload"),
    /^MESH_COMMAND_FORBIDDEN: gw-1: control\.commands .* does not permit reload\. Whoever owns the device decides: add/,
  )
  assert.match(
    await refuse(t, {}, 'MESH_CONFIG_INVALID\nnode.name: must be a name'),
    /^MESH_CONFIG_INVALID: gw-1: node\.name: must be a name\. .*`meshlet config check`/,
  )
})

test('whatever a device fails with, its remedy is not one for agents or their certificates', async (t) => {
  for (const code of [...Object.keys(CATALOGUE), 'MESH_OF_A_LATER_VERSION']) {
    if (code === 'MESH_CONFIG_INVALID' || code === 'MESH_CONTROL_FORBIDDEN') continue
    const said = await refuse(t, {}, `${code}\nit did not work`)
    assert.ok(said.startsWith(`MESH_COMMAND_FAILED: gw-1: ${code}: it did not work. Nothing asks again`), said)
  }
})
