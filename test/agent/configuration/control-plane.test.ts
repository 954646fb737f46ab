import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { loadConfig } from '../../../agent/config/load.ts'
import type { AgentConfig } from '../../../agent/config/schema.ts'
import type { Configuration, ConfigurationOptions } from '../../../agent/configuration/configuration.ts'
import { openControlPlane } from '../../../agent/configuration/control-plane.ts'
import { readNodeSettings } from '../../../agent/control-sync-settings.ts'
import { OwnNode } from '../../../agent/own-node.ts'
import { Readiness } from '../../../agent/readiness.ts'
import { Current } from '../../../core/current.ts'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import { systemDisk } from '../../../core/os/disk.ts'
import { NamedFiles } from '../../../core/os/named-files.ts'
import { openStorageWith } from '../../../core/storage/worker-storage.ts'
import type { World } from '../../../core/world.ts'
import { EMPTY_TABLES, type Tables } from '../../../model/tables.ts'
import { settle, SimClock } from '../../helpers/sim-clock.ts'
import { SimNetwork } from '../../helpers/sim-network.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { cluster } from '../../helpers/disk/snapshot-disk.ts'

/** A machine that starts again and again with the same state folder, and no control plane that answers. */
class Machine {
  readonly clock = new SimClock()
  readonly #state: string
  readonly #control: string
  #starts = 0
  constructor(t: TestContext, control = '') {
    this.#state = temporaryFolder(t)
    this.#control = control
  }
  get config(): AgentConfig {
    const loaded = loadConfig(
      `state: ${this.#state}\ncontrol: {address: "127.0.0.1:1", roots: ${this.#state}/none${this.#control}}\n`,
    )
    return loaded.ok ? loaded.config : assert.fail(JSON.stringify(loaded.problems))
  }
  /** Of configurations alone: the node looks at its addresses for as long as it lives. */
  get pendingTimers(): number {
    return this.clock.pendingTimers - this.#starts
  }
  async start(over: Partial<ConfigurationOptions> = {}) {
    this.#starts++
    const { clock, config } = this
    const [log, metrics, readiness] = [silentLog, new Metrics(), new Readiness()]
    const tables = new Current<Tables>(EMPTY_TABLES)
    const settings = readNodeSettings(config, { version: '1', hostName: 'box', ip: '192.0.2.1' })
    const node = new OwnNode({ settings, addresses: () => ['192.0.2.1'], clock, log })
    const world: World = {
      clock,
      random: { float: () => 0.5 },
      network: new SimNetwork(),
      disk: systemDisk,
      addresses: () => ['192.0.2.1'],
      openStorage: openStorageWith({ bundle: undefined }),
    }
    const identity = { current: () => undefined, watch: () => ({ [Symbol.dispose]: () => {} }) }
    const configuration = await openControlPlane({
      config,
      world,
      metrics,
      log,
      tables,
      identity: identity as unknown as ConfigurationOptions['identity'],
      node,
      owner: 'n',
      ownRoutes: new Current<ReadonlySet<string>>(new Set()),
      readiness,
      bootSpread: { drawWaitMs: () => 0 },
      health: undefined,
      files: new NamedFiles({ folders: [], systemRoots: undefined, nowMs: () => clock.monotonicMs() }),
      version: '1',
      ...over,
    })
    return Object.assign(configuration, { readiness, tables })
  }
}
/** The state of the link, once what was begun has got somewhere. */
async function stateOf(configuration: Configuration): Promise<string> {
  await settle()
  return configuration.link().state
}

test('without a stored configuration the agent is not ready, and the control plane is asked at once', async (t) => {
  const machine = new Machine(t)
  await using run = await machine.start()
  assert.deepEqual(run.readiness.pending, ['a configuration'])
  assert.deepEqual([run.needsIdentity, run.damage, run.folderProblems()], [true, [], []])
  const { sinceMs: _, ...link } = run.link()
  assert.deepEqual(link, {
    mode: 'control plane',
    address: '127.0.0.1:1',
    state: 'connecting',
    lastContactMs: undefined,
    error: undefined,
  })
  run.connect()
  while ((await stateOf(run)) !== 'waiting') await new Promise(setImmediate)
  assert.equal(run.link().error?.code, 'MESH_NO_IDENTITY')
})

test('what was pushed is in force at the next start, unconfirmed, and the control plane is asked a little later', async (t) => {
  const machine = new Machine(t)
  {
    await using first = await machine.start()
    await first.applier.apply([cluster('a')])
    assert.ok(first.tables.get().cluster('a'))
  }
  await using second = await machine.start()
  assert.deepEqual(second.readiness.pending, [])
  assert.ok(second.tables.get().cluster('a'))
  assert.ok(second.tables.get().stale)
  second.connect()
  await machine.clock.advance(199)
  assert.equal(await stateOf(second), 'connecting')
  await machine.clock.advance(2)
  while ((await stateOf(second)) !== 'waiting') await new Promise(setImmediate)
})

test('after the boot of the machine the stream waits as long as it is told; a node without a configuration does not', async (t) => {
  const machine = new Machine(t)
  const bootSpread = { drawWaitMs: () => 7_000 }
  {
    await using first = await machine.start({ bootSpread })
    first.connect()
    while ((await stateOf(first)) !== 'waiting') await new Promise(setImmediate)
    await first.applier.apply([cluster('a')])
  }
  await using second = await machine.start({ bootSpread })
  second.connect()
  await machine.clock.advance(6_999)
  assert.equal(await stateOf(second), 'connecting')
  await machine.clock.advance(1)
  while ((await stateOf(second)) !== 'waiting') await new Promise(setImmediate)
})

test("what belongs to another node is not this one's", async (t) => {
  const machine = new Machine(t)
  {
    await using first = await machine.start()
    await first.applier.apply([cluster('a')])
  }
  await using second = await machine.start({ owner: 'other' })
  assert.deepEqual(second.readiness.pending, ['a configuration'])
  assert.equal(second.tables.get().cluster('a'), undefined)
})

test('an agent that ends before it was to connect does not', async (t) => {
  const machine = new Machine(t)
  {
    await using first = await machine.start()
    await first.applier.apply([cluster('a')])
  }
  const second = await machine.start()
  second.connect()
  await second[Symbol.asyncDispose]()
  await machine.clock.advance(10_000)
  assert.equal(await stateOf(second), 'connecting')
  assert.equal(machine.pendingTimers, 0)
})

test('damage of what is stored is told, and an empty configuration serves', async (t) => {
  const machine = new Machine(t)
  {
    await using first = await machine.start()
    await first.applier.apply([cluster('a')])
  }
  const { state } = machine.config
  for (const name of fs.readdirSync(state))
    if (name.startsWith('snapshot')) fs.writeFileSync(path.join(state, name), 'x'.repeat(8_192))
  await using second = await machine.start()
  assert.deepEqual(
    second.damage.map((d) => d.code),
    ['MESH_STORAGE_DAMAGED'],
  )
  assert.deepEqual(second.readiness.pending, ['a configuration'])
})

test('how long there was no control plane is noted only where something depends on it', async (t) => {
  for (const [maxAgeMs, timers] of [
    [0, 0],
    [600_000, 1],
  ] as const) {
    const machine = new Machine(t, `, authorizationMaxAgeMs: ${maxAgeMs}`)
    const run = await machine.start()
    assert.equal(machine.pendingTimers, timers)
    await machine.clock.advance(7_200_000)
    assert.equal(machine.pendingTimers, timers, 'again and again')
    await run[Symbol.asyncDispose]()
    assert.equal(machine.pendingTimers, 0)
  }
})

test('a configuration without `control` is none', async (t) => {
  const machine = new Machine(t)
  const { control: _, ...config } = machine.config
  await assert.rejects(machine.start({ config: config as AgentConfig }), { code: 'MESH_CONFIG_INVALID' })
})
