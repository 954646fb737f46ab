/**
 * A start as a device makes it, from a stored configuration, with one request: for V8 to compile what a start runs, and
 * no more. All of a program compiled takes longer to read than the compiling of what is needed.
 */
import type { Duplex } from 'node:stream'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { startAgent } from '../agent.ts'
import { loadConfig } from '../config/load.ts'
import { bundle } from '../../core/runtime/bundle.ts'
import { Current } from '../../core/current.ts'
import { detach } from '../../core/defects/guard.ts'
import { createLog } from '../../core/log.ts'
import { Metrics } from '../../core/metrics.ts'
import { createRealWorld } from '../../core/real-world.ts'
import type { World } from '../../core/world.ts'
import { Applier, type Change } from '../../control-sync/apply.ts'
import { describeOneService } from '../../control-sync/one-service.ts'
import { deriveSnapshotOwner } from '../../control-sync/ads/node.ts'
import { SnapshotSaver } from '../../control-sync/snapshot/saver.ts'
import { openSnapshotStore } from '../../control-sync/snapshot/store.ts'
import { EMPTY_TABLES, type Tables } from '../../model/tables.ts'
import { readNodeSettings } from '../control-sync-settings.ts'

/** A rehearsal writes no log. */
const log = createLog('silent')

/** Rejects when this machine cannot even do that: no loopback, no room for temporary files. */
export async function rehearse(): Promise<void> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-precompile-'))
  try {
    const world = createRealWorld({ bundle })
    await using endpoint = await world.network.listen({ host: '127.0.0.1', port: 0 }, ({ stream }) => {
      detach('network', answer(stream))
    })
    const loaded = loadConfig(`node: {name: rehearsal, ip: 192.0.2.1}
control: {address: "127.0.0.1:1", roots: ${folder}/roots.pem}
state: ${folder}/state
admin: {port: 0}
listeners:
- {name: http-proxy, kind: http_proxy, port: 0}
- {name: mqtt, kind: mqtt, port: 0}
`)
    if (!loaded.ok) throw new Error('the configuration of the rehearsal is none')
    await store(describeOneService('svc.example', endpoint.port), { world, config: loaded.config })
    await using agent = await startAgent(loaded.config, world, {
      log,
      version: '',
      builtAtMs: undefined,
      hostName: 'rehearsal',
      ip: '192.0.2.1',
    })
    await request(world, agent.portOf('http-proxy') ?? 0)
    agent.status()
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

async function store(
  change: readonly Change[],
  { world, config }: { readonly world: World; readonly config: Parameters<typeof readNodeSettings>[0] },
): Promise<void> {
  fs.mkdirSync(config.state, { mode: 0o700 })
  const node = deriveSnapshotOwner(readNodeSettings(config, { version: '', hostName: '', ip: '' }))
  const common = { node, clock: world.clock, log, metrics: new Metrics() }
  const { store: file } = await openSnapshotStore({
    ...common,
    openStorage: world.openStorage,
    path: path.join(config.state, 'snapshot.db'),
  })
  await using _file = file
  await using saver = new SnapshotSaver({ ...common, store: file, copyIntervalMs: 0 })
  const applier = new Applier({ ...common, saver, tables: new Current<Tables>(EMPTY_TABLES) })
  await applier.apply(change)
}

async function answer(stream: Duplex): Promise<void> {
  for await (const _request of stream) stream.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
}

async function request({ network }: World, port: number): Promise<void> {
  const { stream } = await network.dial({ host: '127.0.0.1', port }, new AbortController().signal)
  stream.end('GET http://svc.example/ HTTP/1.1\r\nHost: svc.example\r\nConnection: close\r\n\r\n')
  await stream.resume().toArray()
}
