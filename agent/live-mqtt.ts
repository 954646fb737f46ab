/** Which settings of `mqtt` a running agent takes from a changed agent.yaml, and how. */
import { detach } from '../core/defects/guard.ts'
import type { Current } from '../core/current.ts'
import type { Disk } from '../core/os/disk.ts'
import type { Listener } from '../model/listener.ts'
import type { Tables } from '../model/tables.ts'
import type { AclFiles } from '../protocols/mqtt/authorization/acl-files.ts'
import type { UserDatabase } from '../protocols/mqtt/users/user-database.ts'
import { createListeners } from './config/listeners.ts'
import type { AgentConfig } from './config/schema.ts'
import { collectAclFiles } from './mqtt-policies.ts'
import type { LiveSettings } from './reload.ts'

/** The store was opened with its profile, and the users' database with its settings. */
const SPOOL = ['maxBytes', 'maxMessages', 'minDiskFreeBytes', 'whenFull'] as const

type Parts = {
  /** As everybody has it: its `mqtt` is changed in place. */
  readonly config: AgentConfig
  readonly disk: Disk
  /** Listeners of agent.yaml, as everybody has them: those with other rules are replaced in place. */
  readonly own: Listener[]
  readonly tables: Current<Tables>
  readonly acls: Pick<AclFiles, 'use'>
  readonly users: Pick<UserDatabase, 'findKey'> | undefined
}

export function createLiveMqtt({ config, disk, own, tables, acls, users }: Parts): LiveSettings {
  const names = Object.keys(config.mqtt).filter((name) => name !== 'users' && name !== 'spool')
  return {
    settings: [
      ...[...names, 'aclFile', 'quotas'].map((name) => `mqtt.${name}`),
      ...SPOOL.map((name) => `mqtt.spool.${name}`),
      'listeners.*.mqtt',
    ],
    prepare(next) {
      const made = new Map(
        createListeners(next, { disk, findPskKey: (id) => users?.findKey(id) }).map((one) => [one.name, one]),
      )
      return () => {
        const { users: _, spool, ...others } = next.mqtt
        // Settings that are left out are gone.
        for (const name of names) if (!(name in others)) Reflect.deleteProperty(config.mqtt, name)
        Object.assign(config.mqtt, others)
        for (const name of SPOOL) Object.assign(config.mqtt.spool, { [name]: spool[name] })
        for (const [i, listener] of own.entries()) own[i] = withRulesOf(listener, made.get(listener.name))
        // Files of rules first: until they are read nobody connects.
        detach(
          'mqtt',
          acls.use(collectAclFiles(own)).then(() => tables.swap(tables.get())),
        )
      }
    },
  }
}

/** The same object when its rules are the same. */
function withRulesOf(listener: Listener, next: Listener | undefined): Listener {
  const chain = listener.defaultFilterChain
  const codec = next?.defaultFilterChain?.codec
  if (!chain || chain.codec.kind !== 'mqtt' || codec?.kind !== 'mqtt') return listener
  if (JSON.stringify(chain.codec.mqtt) === JSON.stringify(codec.mqtt)) return listener
  return { ...listener, defaultFilterChain: { ...chain, codec: { ...chain.codec, mqtt: codec.mqtt } } }
}
