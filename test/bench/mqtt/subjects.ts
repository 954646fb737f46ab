/** The brokers that are compared, as processes: what each is started with. */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { findDebianProgram } from '../../../tools/debian.ts'
import { staticCluster } from '../../conformance/package/shipped.ts'
import type { BenchCertificates } from '../certificates.ts'
import { UNIT_ENVIRONMENT } from '../http/meshlet.ts'

/** `upstream`: everything goes on to the broker at this port. `isKept`: a restart is part of the case. */
export type Setting = {
  readonly dir: string
  readonly port: number
  readonly tls?: BenchCertificates
  readonly upstream?: number
  readonly isKept?: boolean
  readonly maxInflight?: number
}
export type Program = { readonly command: string; readonly args: readonly string[] }
export type Subject = {
  readonly name: string
  /** Rejects where it cannot be had. */
  find(): string
  prepare(setting: Setting): Program
}

const BUNDLE = path.resolve(import.meta.dirname, '../../../dist/meshlet.cjs')

/** No peer but the floor on Node, for cases that ask for it by name. */
export const SOCKETS = 'sockets'
const BARE_SOCKETS = path.resolve(import.meta.dirname, 'load/bare-sockets.ts')

/** @param before another bundle of meshlet, for the same run */
export function mqttSubjects(before?: string): readonly Subject[] {
  return [
    meshlet('meshlet', BUNDLE),
    { name: 'mosquitto', find: () => findDebianProgram('mosquitto'), prepare: prepareMosquitto },
    {
      name: SOCKETS,
      find: () => BARE_SOCKETS,
      prepare: ({ port }) => ({ command: process.execPath, args: [BARE_SOCKETS, String(port)] }),
    },
    ...(before === undefined ? [] : [meshlet('before', before)]),
  ]
}

function meshlet(name: string, bundle: string): Subject {
  return {
    name,
    find() {
      if (!fs.existsSync(bundle)) throw new Error(`there is no ${bundle}`)
      return bundle
    },
    prepare(setting) {
      const home = path.join(setting.dir, name)
      fs.mkdirSync(home, { recursive: true })
      const installed = path.join(home, 'meshlet.cjs')
      fs.copyFileSync(bundle, installed)
      const { status, stderr } = spawnSync(process.execPath, [installed, 'precompile'], { encoding: 'utf8' })
      if (status !== 0 && name === 'meshlet') throw new Error(stderr)
      const { upstream } = setting
      fs.mkdirSync(path.join(home, 'resources'))
      fs.writeFileSync(
        path.join(home, 'resources/all.json'),
        JSON.stringify({ resources: upstream === undefined ? [] : [staticCluster('upstream', upstream)] }),
      )
      fs.writeFileSync(path.join(home, 'agent.yaml'), agentYaml(home, setting, status === 0 ? LIMITS : ''))
      return {
        command: 'env',
        args: [
          ...UNIT_ENVIRONMENT,
          process.execPath,
          '--max-semi-space-size=4',
          '--v8-pool-size=1',
          installed,
          'run',
          '--config',
          path.join(home, 'agent.yaml'),
        ],
      }
    },
  }
}

/** A bundle so old that it has no `precompile` does not have these settings either. */
const LIMITS = 'limits: {maxConnections: 20000, maxConnectionsTotal: 20000, maxConnectionsPerSource: 20000}\n'

/** No limit is met. */
function agentYaml(home: string, { port, tls, upstream }: Setting, limits: string): string {
  return `node: {name: bench}
directory: ${home}/resources
state: ${home}/state
admin: {port: 0}
${limits}listeners:
- name: mqtt
  kind: mqtt
  port: ${port}
  address: 127.0.0.1
${tls ? `  tls: {mode: server, chain: ${tls.proxy.chain}, key: ${tls.proxy.key}}\n` : ''}mqtt:
${upstream === undefined ? '' : '  routes: [{match: telemetry/#, direction: up, cluster: upstream}]\n'}\
  limits:
    maxConnections: 20000
    maxSessions: 20000
    maxSubscriptionsPerSession: 20000
    maxRetainedMessages: 200000
    maxQueuedMessages: 100000000
    maxQueuedBytes: 100000000000
  spool: {profile: strict, maxBytes: 100000000000, maxMessages: 1000000000}
log: {level: warn}
`
}

export function prepareMosquitto({ dir, port, tls, upstream, isKept, maxInflight = 100 }: Setting): Program {
  const home = path.join(dir, 'mosquitto')
  fs.mkdirSync(home, { recursive: true })
  // It gives up root for a user of its own.
  fs.chmodSync(dir, 0o755)
  fs.chmodSync(home, 0o777)
  const config = path.join(home, 'mosquitto.conf')
  fs.writeFileSync(
    config,
    `listener ${port} 127.0.0.1
allow_anonymous true
set_tcp_nodelay true
max_queued_messages 0
max_inflight_messages ${maxInflight}
user root
${isKept ? `persistence true\npersistence_location ${home}/\n` : ''}\
${tls ? `certfile ${tls.proxy.chain}\nkeyfile ${tls.proxy.key}\n` : ''}\
${upstream === undefined ? '' : `connection upstream\naddress 127.0.0.1:${upstream}\ntopic telemetry/# out 1\nrestart_timeout 1\ncleansession false\ntry_private true\n`}`,
  )
  return { command: findDebianProgram('mosquitto'), args: ['-c', config] }
}

export function temporaryFolder(): Disposable & { readonly path: string } {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-bench-'))
  return { path: folder, [Symbol.dispose]: () => fs.rmSync(folder, { recursive: true, force: true }) }
}
