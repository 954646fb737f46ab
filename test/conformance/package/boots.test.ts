/**
 * The shipped bundle at a boot: no link, no address, an address that comes late. It serves what it has within seconds,
 * and systemd hears so.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { once } from 'node:events'
import { Current } from '../../../core/current.ts'
import { systemClock } from '../../../core/os/clock.ts'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import { openStorageWith } from '../../../core/storage/worker-storage.ts'
import { EMPTY_TABLES, type Tables } from '../../../model/tables.ts'
import { Applier } from '../../../control-sync/apply.ts'
import { describeOneService } from '../../../control-sync/one-service.ts'
import { SnapshotSaver } from '../../../control-sync/snapshot/saver.ts'
import { openSnapshotStore } from '../../../control-sync/snapshot/store.ts'
import { testCa } from '../../helpers/test-ca.ts'
import { distFile, temporaryFolder, until, type Finally } from '../programs.ts'

const canIsolate =
  spawnSync('unshare', ['-n', 'ip', 'link', 'set', 'lo', 'up']).status === 0
    ? {}
    : { skip: 'needs a network namespace of its own (root)' }
const OWNER = 'edge-1.edge spiffe://cluster.local/ns/edge/sa/gateway'

const withAddress = (ip: string): string =>
  `ip link add v0 type veth peer name v1; ip addr add ${ip}/24 dev v0; ip link set v0 up; ip link set v1 up`

type Device = {
  readonly folder: string
  readonly notified: () => string[]
  start(t: Finally, prepare: string): { answers(): number; lan(): string; stop(): Promise<number | null> }
}

/** A device that has once had its configuration; `state` may be without. */
async function device(t: Finally, had: 'a configuration' | 'nothing'): Promise<Device> {
  const folder = temporaryFolder(t)
  const state = path.join(folder, 'state')
  fs.writeFileSync(path.join(folder, 'roots.pem'), await writeState(state, had))
  fs.writeFileSync(
    path.join(folder, 'agent.yaml'),
    `node: {name: edge-1, namespace: edge, serviceAccount: gateway}
control: {address: "192.0.2.99:15012", serverName: istiod.istio-system.svc, roots: ${folder}/roots.pem, token: ${folder}/token}
state: ${state}
listeners:
- {name: http-proxy, kind: http_proxy, port: 15080}
- {name: mqtt, kind: mqtt, port: 1883}
- {name: lan, kind: mqtt, address: 192.0.2.5, port: 1884}
`,
  )
  // What systemd would hear, with the time.
  fs.mkdirSync(path.join(folder, 'bin'))
  fs.writeFileSync(path.join(folder, 'bin/systemd-notify'), `#!/bin/sh\necho "$@" >> ${folder}/notified\n`, {
    mode: 0o755,
  })
  const notified = (): string[] => {
    try {
      return fs.readFileSync(`${folder}/notified`, 'utf8').trim().split('\n')
    } catch {
      return []
    }
  }
  return {
    folder,
    notified,
    start(on, prepare) {
      fs.rmSync(`${folder}/notified`, { force: true })
      const child = boot(folder, prepare)
      on.after(() => {
        child.kill('SIGKILL')
      })
      return {
        answers: () => inside(child.pid!, 'http://127.0.0.1:15000/ready'),
        lan: () => lanListener(child.pid!),
        async stop() {
          child.kill('SIGTERM')
          await once(child, 'close')
          return child.exitCode
        },
      }
    },
  }
}
/** What a former run has left behind. The root of its mesh. */
async function writeState(state: string, had: 'a configuration' | 'nothing'): Promise<string> {
  fs.mkdirSync(path.join(state, 'identity'), { recursive: true, mode: 0o700 })
  const { keyPem, chainPem, rootsPem } = testCa('cluster.local').issue('edge', 'gateway')
  if (had === 'nothing') return rootsPem
  fs.writeFileSync(path.join(state, 'identity/identity.json'), JSON.stringify({ keyPem, chainPem, rootsPem }), {
    mode: 0o600,
  })
  const shared = { node: OWNER, clock: systemClock, log: silentLog, metrics: new Metrics() }
  const { store } = await openSnapshotStore({
    ...shared,
    openStorage: openStorageWith({ bundle: undefined }),
    path: path.join(state, 'snapshot.db'),
  })
  await using _store = store
  await using saver = new SnapshotSaver({ ...shared, store, copyIntervalMs: 0 })
  const applier = new Applier({ ...shared, saver, tables: new Current<Tables>(EMPTY_TABLES) })
  await applier.apply(describeOneService('svc.example', 1))
  return rootsPem
}
/** In a network of its own, which `prepare` makes. */
function boot(folder: string, prepare: string): ChildProcess {
  return spawn(
    'unshare',
    [
      '-n',
      'sh',
      '-c',
      `ip link set lo up; ${prepare} exec ${process.execPath} --max-semi-space-size=4 --v8-pool-size=1 ${distFile('meshlet.cjs')} run --config ${folder}/agent.yaml`,
    ],
    {
      env: { ...process.env, PATH: `${folder}/bin:${process.env['PATH']}`, NOTIFY_SOCKET: '/nowhere' },
      stdio: ['ignore', 'ignore', 'ignore'],
    },
  )
}
/** State of the listener whose address is not there at first. */
function lanListener(pid: number): string {
  const asks = `require('node:http').get('http://127.0.0.1:15000/status', async (a) => { console.log(JSON.parse((await a.toArray()).join('')).listeners.find((l) => l.name === 'lan').state) })`
  return spawnSync('nsenter', ['-t', String(pid), '-n', process.execPath, '-e', asks], {
    encoding: 'utf8',
  }).stdout.trim()
}
/** The status of an answer inside of the process's namespace; 0: none. */
function inside(pid: number, url: string): number {
  const asks = `const r = require('node:http').get(process.argv[1], (a) => { console.log(a.statusCode); a.resume() }); r.on('error', () => console.log(0))`
  const { stdout } = spawnSync('nsenter', ['-t', String(pid), '-n', process.execPath, '-e', asks, url], {
    encoding: 'utf8',
  })
  return Number(stdout.trim() || 0)
}

for (const [what, prepare] of [
  ['no link and no address', ''],
  ['another address than before', `${withAddress('10.9.9.9')};`],
  ['an address that comes late', `(sleep 1; ${withAddress('192.0.2.5')}) &`],
] as const) {
  test(`a boot with ${what}: what is on disk serves, and systemd hears READY=1`, canIsolate, async (t) => {
    const d = await device(t, 'a configuration')
    const run = d.start(t, prepare)
    await until('systemd hears of it', () => d.notified().some((line) => line.startsWith('READY=1')))
    assert.match(d.notified()[0]!, /^READY=1 STATUS=serving as spiffe:\/\/cluster\.local\/ns\/edge\/sa\/gateway$/)
    assert.equal(run.answers(), 200)
    if (prepare.includes('192.0.2.5'))
      await until('the listener of the late address is open', () => run.lan() === 'listening')
    else assert.equal(run.lan(), 'failed')
    assert.equal(await run.stop(), 0)
    assert.equal(d.notified().at(-1), 'STOPPING=1')
  })
}
test(
  'the first boot of a device, without token, link and address: it does not hold up the boot, and says what it waits for',
  canIsolate,
  async (t) => {
    const d = await device(t, 'nothing')
    const run = d.start(t, '')
    await until('systemd hears of it', () => d.notified().some((line) => line.startsWith('READY=1')))
    assert.match(d.notified()[0]!, /^READY=1 STATUS=waiting for a certificate, a configuration$/)
    assert.equal(run.answers(), 503)
    assert.equal(await run.stop(), 0)
  },
)
