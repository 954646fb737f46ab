import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createListeners } from '../../../agent/config/listeners.ts'
import { loadConfig } from '../../../agent/config/load.ts'
import type { AgentConfig } from '../../../agent/config/schema.ts'
import { createLiveDataPath } from '../../../agent/reload/live-data-path.ts'
import { Current, type Prepared } from '../../../core/current.ts'
import { MeshError } from '../../../core/errors.ts'
import { systemDisk } from '../../../core/os/disk.ts'
import type { Listener } from '../../../model/listener.ts'
import { EMPTY_TABLES } from '../../../model/tables.ts'

const configOf = (rest: string): AgentConfig => {
  const loaded = loadConfig(`control: {address: "a:1", roots: /r}\nstate: /s\n${rest}`)
  return loaded.ok ? loaded.config : assert.fail(JSON.stringify(loaded.problems))
}

class Rig {
  readonly config: AgentConfig
  readonly own: Listener[]
  readonly ownRoutes = new Current<ReadonlySet<string>>(new Set())
  readonly said: string[] = []
  usersProblem: MeshError | undefined
  readonly #live

  constructor(yaml: string) {
    const read = configOf(yaml)
    // As layFoundation copies it.
    this.config = { ...read, mqtt: { ...read.mqtt, spool: { ...read.mqtt.spool } } }
    this.own = [...createListeners(this.config, { disk: systemDisk, findPskKey: () => undefined })]
    const tables = new Current(EMPTY_TABLES)
    tables.watch(() => this.said.push('swapped'))
    this.#live = createLiveDataPath({
      config: this.config,
      disk: systemDisk,
      own: this.own,
      ownRoutes: this.ownRoutes,
      node: { use: ({ httpProxyPort }) => this.said.push(`proxy ${httpProxyPort}`) },
      tables,
      acls: { prepare: async (files) => this.#prepared(`acls ${[...files].join()}`) },
      users: {
        findKey: () => undefined,
        prepare: async (settings) => {
          if (this.usersProblem) throw this.usersProblem
          return this.#prepared(`users ${settings?.passwordFile}`)
        },
      },
    })
  }
  async take(yaml: string): Promise<void> {
    using prepared = await this.#live.prepare(configOf(yaml))
    prepared.commit()
  }
  #prepared(what: string): Prepared {
    let isOpen = true
    return {
      commit: () => {
        isOpen = false
        this.said.push(what)
      },
      [Symbol.dispose]: () => {
        if (isOpen) this.said.push(`${what} given up`)
      },
    }
  }
}

const BEFORE = 'listeners: [{name: a, kind: mqtt, port: 1883}, {name: b, kind: mqtt, port: 1884}]\n'

test('files first, then listeners, then everybody looks again; a listener that is as it was is the same object', async () => {
  const rig = new Rig(BEFORE)
  const [a, b] = rig.own
  await rig.take(
    'listeners: [{name: b, kind: mqtt, port: 1884}, {name: a, kind: mqtt, port: 1883, mqtt: {aclFile: /x}}, {name: p, kind: http_proxy, port: 80}]\nmqtt: {users: {passwordFile: /u}}\n',
  )
  assert.deepEqual(rig.said, ['acls /x', 'users /u', 'proxy 80', 'swapped'])
  assert.deepEqual(
    rig.own.map(({ name }) => name),
    ['b', 'a', 'p'],
  )
  assert.deepEqual([rig.own[0] === b, rig.own[1] === a], [true, false])
  assert.deepEqual([...rig.ownRoutes.get()], ['http_proxy'])
  assert.deepEqual([rig.config.listeners.length, rig.config.mqtt.users?.passwordFile], [3, '/u'])
  await rig.take(BEFORE)
  assert.deepEqual([rig.config.mqtt.users, rig.config.listeners.length], [undefined, 2], 'what is left out is gone')
})

test('when one part cannot take it, the others give up what they prepared', async () => {
  const rig = new Rig(BEFORE)
  rig.usersProblem = new MeshError('MESH_MQTT_USERS_FILE', 'it is not there')
  await assert.rejects(rig.take('listeners: [{name: c, kind: mqtt, port: 1885, mqtt: {aclFile: /x}}]'), {
    code: 'MESH_MQTT_USERS_FILE',
  })
  assert.deepEqual(rig.said, ['acls /x given up'])
  assert.deepEqual([rig.own.length, rig.config.listeners.length], [2, 2])
})

test('a certificate that is not there yet keeps its own listener closed and no other from being changed', async () => {
  const tls = '{name: t, kind: mqtt, port: 8883, tls: {mode: server, chain: /nowhere/c, key: /nowhere/k}}'
  const rig = new Rig(`listeners: [${tls}]`)
  await rig.take(`listeners: [${tls}, {name: a, kind: mqtt, port: 1883}]`)
  assert.equal(rig.own.length, 2)
  await assert.rejects(rig.take(`listeners: [${tls.replace('8883', '8884')}]`), { code: 'MESH_LISTENER_TLS' })
})

test('the profile of the spool and the interval of $SYS stay those of the start', async () => {
  const rig = new Rig(BEFORE)
  await rig.take(`${BEFORE}mqtt: {spool: {profile: eco, maxMessages: 7}, sysIntervalSec: 3}\n`)
  const { spool, sysIntervalSec } = rig.config.mqtt
  assert.deepEqual([spool.profile, spool.maxMessages, sysIntervalSec], ['strict', 7, 10])
})
