/** Commands from an operator, through the registry and the hub that has the device, to the device and back. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HubRequests } from '../../../control-sync/fleet/hub-requests.ts'
import type { MeshError } from '../../../core/errors.ts'
import { silentLog } from '../../../core/log.ts'
import { systemClock } from '../../../core/os/clock.ts'
import { askDevice } from '../../../hub/reports/ask-device.ts'
import { CommandDesk } from '../../../hub/relay/command-desk.ts'
import { OpenRegistry } from '../../../hub/registry/registry.ts'
import { openSqlite } from '../../../hub/registry/sqlite.ts'
import type { CommandRequest } from '../../../model/fleet/command.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { fleet, services, whole } from './rig.ts'

const ASK: CommandRequest = { command: 'status', lines: 1, operator: 'operator:ada' }

test('an operator beside the hub asks a device, and gets its answer or why there is none', async (t) => {
  const ran: CommandRequest[] = []
  const requests = new HubRequests({
    clock: systemClock,
    log: silentLog,
    permitted: { commands: ['status'], ports: [] },
    run: async (request) => {
      ran.push(request)
      return { form: 'text', text: 'all is well' }
    },
    dial: () => Promise.reject(new Error('no')),
  })
  const f = await fleet(t, services(2))
  const agent = f.agent(undefined, (stream, head) => requests.accept(stream, head))
  await whole(agent, 2)
  // As another process: `meshlet-hub device status`.
  await using registry = new OpenRegistry(openSqlite(`${f.h.folder}/state/registry.db`))
  const ask = async (device: string, over: Partial<CommandRequest> = {}): Promise<string> => {
    try {
      return JSON.stringify(await askDevice(registry, { device, request: { ...ASK, ...over }, clock: systemClock }))
    } catch (thrown) {
      const { code, message } = thrown as MeshError
      return `${code} ${message}`
    }
  }
  // What is written once a second.
  while (typeof (await registry.devices())[0]?.connectedMs !== 'number') await systemClock.sleep(20)
  assert.equal(await ask('gw-1'), '{"form":"text","text":"all is well"}')
  assert.match(await ask('gw-1', { command: 'logs' }), /^MESH_COMMAND_FORBIDDEN gw-1: .*control\.commands/)
  assert.match(await ask('gw-2'), /^MESH_CONFIG_INVALID .*no device/)
  assert.deepEqual(ran, [ASK])
  const audited = (await registry.audit.list({ most: 100 })).filter((a) => a.event === 'device.command')
  assert.deepEqual(
    audited.map(({ actor, subject, detail }) => [actor, subject, detail]),
    [
      ['operator:ada', 'gw-1', 'status'],
      ['operator:ada', 'gw-1', 'logs'],
    ],
  )
  const ofNamespace = await registry.audit.page({ most: 100, namespaces: ['edge'] })
  assert.equal(ofNamespace.filter((a) => a.event === 'device.command').length, 2, 'its own operators see it')
})

test('what was asked is taken once, whoever looks', async () => {
  await using registry = new OpenRegistry(openSqlite(':memory:'))
  const { deviceCommands } = registry
  await deviceCommands.ask({ id: 'a', device: 'gw-1', request: '{}', askedMs: 1_000 })
  assert.equal((await deviceCommands.asked(2_000)).length, 1)
  assert.deepEqual([await deviceCommands.take('a'), await deviceCommands.take('a')], [true, false])
  assert.equal((await deviceCommands.asked(2_000)).length, 0)
  await deviceCommands.finish('a', 'done', 'x')
  assert.deepEqual(await deviceCommands.outcome('a'), { state: 'done', answer: 'x' })
  await deviceCommands.ask({ id: 'b', device: 'gw-1', request: '{}', askedMs: 3_000 })
  assert.equal((await deviceCommands.asked(60_000)).length, 0, 'too old to be carried out')
})

test('what was asked is gone within minutes, though nobody asks anything more', async (t) => {
  const [clock, registry] = [new SimClock(), new OpenRegistry(openSqlite(':memory:'))]
  t.after(() => registry[Symbol.asyncDispose]())
  const desk = new CommandDesk({ registry, clock, log: silentLog, open: () => undefined })
  t.after(() => desk[Symbol.dispose]())
  const ask = (id: string, inMs: number) =>
    registry.deviceCommands.ask({ id, device: 'gw-1', request: '{}', askedMs: clock.wallMs() + inMs })
  await ask('now', 0)
  await ask('of a clock that is years ahead', 1e11)
  await clock.advance(3 * 60_000)
  assert.notEqual(await registry.deviceCommands.outcome('now'), undefined, 'its answer may still be read')
  assert.equal(await registry.deviceCommands.outcome('of a clock that is years ahead'), undefined)
  await clock.advance(5 * 60_000)
  assert.equal(await registry.deviceCommands.outcome('now'), undefined)
})
